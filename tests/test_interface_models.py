"""Detectors with parts of ours under mmdet's modes, wrappers and tools."""

import copy
import functools
import pickle

import pytest
import torch
from helpers import BOXES, demo_batch, losses_of, mini_config, total_loss
from interface_cases import DENSE_HEADS, case, config_of
from mmcv.cnn.utils import fuse_conv_bn
from mmdet.registry import MODELS
from mmengine.config import ConfigDict
from mmengine.model import BaseTTAModel, ExponentialMovingAverage
from torch import nn

from mmdet_assigners.utils import registered_names

# the other parts of a model: backbones, necks, RoI heads and box heads
PARTS = [
    'CSPDarknet53',
    'CSPPeleeNet',
    'CSPResNeXt',
    'CSPResNet',
    'D2DetRoIHead',
    'DSCRoIHead',
    'DoubleHeadExtCascadeRoIHead',
    'DoubleHeadExtRoIHead',
    'DuallySupervisedCascadeRoIHead',
    'DuallySupervisedRoIHead',
    'EFM',
    'FPT',
    'HitBBoxHead',
    'HitBackbone',
    'HitPAFPN',
    'InclusiveRoIExtractor',
    'KLRoIHead',
    'MaskBoundaryRefinement',
    'MaskRefiningRoIHead',
    'PSFPN',
    'PairedRoIHead',
    'PSResNet',
    'PSResNeXt',
    'PeleeNet',
    'PyConvHGResNet',
    'PyConvResNet',
    'SEPC',
    'SPPPANNeck',
    'SamplingFreeBBoxHead',
    'SearchFasterRCNN',
    'SearchableBBoxHead',
    'SearchableBackbone',
    'SearchableNeck',
    'TSDCascadeRoIHead',
    'TSDRoIHead',
]
# with their method or the small-scale form
TESTED_ELSEWHERE = (
    'BatchGuidedAnchorHead',
    'D2DetInstanceHead',
    'EfficientNetLite0',
    'PairedBatchResize',
    'SEPC',
    'SingleHourglassNet',
)
NAMES = DENSE_HEADS + PARTS
for_each_model = pytest.mark.parametrize('name', NAMES)


def config_for(name):
    """Config of a small model with a part, without thresholds of scores."""
    cfg = mini_config(config_of(name)).model
    for node in (cfg.test_cfg, *cfg.test_cfg.values()):
        if hasattr(node, 'get') and 'score_thr' in node:
            node.score_thr = 0.0
            node.max_per_img = 10
    return cfg


def for_boxes(name):
    """The config without masks, which mmdet's wrappers don't merge."""
    cfg = config_for(name)
    for key in ('mask_head', 'mask_roi_extractor'):
        cfg.get('roi_head', {}).pop(key, None)
    if cfg.pop('mask_head', None):
        cfg.type = 'SingleStageDetector'
    return cfg


@functools.cache
def model_of(name):
    """A model in evaluation mode, with statistics in its norms."""
    torch.manual_seed(0)
    model = MODELS.build(config_for(name))
    model.init_weights()
    generator = torch.Generator().manual_seed(1)
    for path, module in model.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.running_mean.normal_(0, 0.3, generator=generator)
            module.running_var.uniform_(0.5, 2, generator=generator)
            module.weight.data.uniform_(0.5, 2, generator=generator)
            module.bias.data.normal_(0, 0.3, generator=generator)
            if path.endswith('bn3'):  # the sum of many blocks stays small
                module.weight.data.mul_(0.2)
    return model.eval()


def image_of(model, boxes=(BOXES,), training=False):
    batch = demo_batch(list(boxes))
    for sample in batch['data_samples']:
        sample.proposals = sample.gt_instances.clone()  # Fast R-CNN's
        sample.proposals.pop('masks')
        sample.proposals.pop('labels')
    return model.data_preprocessor(batch, training)


def tensors(outs):
    """The tensors of nested outputs."""
    if isinstance(outs, torch.Tensor):
        return [outs]
    values = outs.values() if hasattr(outs, 'values') else outs
    return [] if outs is None else [t for v in values for t in tensors(v)]


@torch.no_grad()
def raw(model):
    """Outputs of the network; a second stage gets fixed proposals.

    Its own depend on how close scores are ordered.
    """
    data = image_of(model)
    if not getattr(model, 'with_roi_head', False):
        return tensors(model(**data, mode='tensor'))
    feats = model.extract_feat(data['inputs'])
    samples = data['data_samples']
    proposals = [sample.proposals for sample in samples]
    outs = [feats, model.roi_head.forward(feats, proposals, samples)]
    if model.with_rpn:
        outs.append(model.rpn_head(feats))
    return tensors(outs)


@torch.no_grad()
def detections(model):
    found = model(**image_of(model), mode='predict')
    return [
        value
        for sample in found
        for key, value in sample.pred_instances.items()
        if key != 'masks'
    ]


def assert_close(found, expected, **tolerance):
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, **tolerance)


@for_each_model
def test_modes(name):
    model = model_of(name)
    with torch.no_grad():
        outs = tensors(model(**image_of(model), mode='tensor'))
    assert outs and all(torch.isfinite(x).all() for x in outs)
    assert detections(model)
    training = copy.deepcopy(model).train()
    data = image_of(training, [BOXES, BOXES[:1]], True)
    losses = training(**data, mode='loss')
    assert torch.isfinite(total_loss(losses))


@for_each_model
def test_copies_and_text(name):
    """EMA and semi-supervision copy a model, DDP pickles, logs print it."""
    model = model_of(name)
    assert name in repr(model)
    expected = raw(model)
    average = ExponentialMovingAverage(model)
    average.update_parameters(model)
    copies = [copy.deepcopy(model), pickle.loads(pickle.dumps(model))]
    for one in (*copies, average.module):
        assert one.state_dict().keys() == model.state_dict().keys()
        assert_close(raw(one), expected, rtol=1e-4, atol=1e-5)


@for_each_model
def test_fused_norms_predict_the_same(name):
    """mmcv's ``fuse_conv_bn``, which mmdet's tools offer."""
    model = model_of(name)
    fused = fuse_conv_bn(copy.deepcopy(model))
    for found, expected in zip(raw(fused), raw(model), strict=True):
        error = (found - expected).abs().max()
        assert error <= 1e-3 * expected.abs().max()


def test_integrated_norms_are_not_fused():
    """They have one norm for the sum of three convolutions."""
    channels = dict(in_channels=4, out_channels=4, num_levels=3, pconv_num=2)
    deform = dict(pconv_deform=True, lcconv_deform=True)
    torch.manual_seed(0)
    neck = MODELS.build(dict(type='SEPC', ibn=True, **channels, **deform))
    for norm in neck.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.uniform_(norm.running_var, 0.1, 3)
            nn.init.normal_(norm.running_mean)
    neck.eval()
    x = [torch.randn(1, 4, 2**n, 2**n) for n in (5, 4, 3)]
    expected = tensors(neck(x))
    assert_close(tensors(fuse_conv_bn(neck)(x)), expected)


# with random statistics their outputs are so large that no box is in the image
AMPLIFIED = ('CSPPeleeNet', 'PeleeNet')


@pytest.mark.parametrize('name', [n for n in NAMES if n not in AMPLIFIED])
def test_test_time_augmentation(name):
    """``DetTTAModel`` merges what two flips of an image give."""
    cfg = ConfigDict(nms=dict(type='nms', iou_threshold=0.5), max_per_img=5)
    model = model_of(name)
    wrapper = MODELS.build(
        dict(type='DetTTAModel', tta_cfg=cfg, module=for_boxes(name))
    )
    wrapper.module.load_state_dict(model.state_dict(), strict=False)
    wrapper.eval()
    views = []
    for flip in (False, True):
        batch = demo_batch([BOXES])
        for sample in batch['data_samples']:
            sample.set_metainfo(dict(flip=flip, flip_direction='horizontal'))
            sample.proposals = sample.gt_instances.clone()
            sample.proposals.pop('masks')
            sample.proposals.pop('labels')
        views.append(batch)
    data = dict(
        inputs=[batch['inputs'] for batch in views],
        data_samples=[batch['data_samples'] for batch in views],
    )
    with torch.no_grad():
        (merged,) = wrapper.test_step(data)
    assert 0 < len(merged.pred_instances) <= 5
    assert merged.pred_instances.bboxes.shape[1] == 4


@for_each_model
def test_semi_supervision(name):
    """A teacher's boxes are the ground truths of the student."""
    cfg = for_boxes(name)
    semi = MODELS.build(
        dict(
            type='SemiBaseDetector',
            detector=cfg,
            data_preprocessor=dict(
                type='MultiBranchDataPreprocessor',
                data_preprocessor=cfg.data_preprocessor,
            ),
            semi_train_cfg=ConfigDict(
                freeze_teacher=True,
                sup_weight=1.0,
                unsup_weight=4.0,
                cls_pseudo_thr=0.0,
                min_pseudo_bbox_wh=(1e-2, 1e-2),
            ),
            semi_test_cfg=ConfigDict(predict_on='teacher'),
        )
    )
    for part in (semi.student, semi.teacher):
        part.load_state_dict(model_of(name).state_dict(), strict=False)
    semi.train()
    data = image_of(semi.student, [BOXES], True)
    for sample in data['data_samples']:
        sample.set_metainfo(dict(homography_matrix=torch.eye(3).numpy()))
    views = ('sup', 'unsup_teacher', 'unsup_student')
    losses = semi(
        {view: data['inputs'] for view in views},
        {
            view: [sample.clone() for sample in data['data_samples']]
            for view in views
        },
        mode='loss',
    )
    kinds = {key.split('_')[0] for key in losses}
    assert kinds == {'sup', 'unsup'}
    assert torch.isfinite(total_loss(losses))


def test_every_part_is_here():
    """Each registered RoI head and neck is in some model above."""
    found = set()
    for name in NAMES:
        found |= {type(m) for m in model_of(name).modules()}
    parts = {
        cls
        for name, cls in registered_names().items()
        if issubclass(cls, nn.Module)
        and not issubclass(cls, BaseTTAModel)  # around a model
        and not name.endswith('Loss')
        and name not in TESTED_ELSEWHERE
    }
    assert parts - found == set()
    assert losses_of(case(NAMES[0]).model, demo_batch([BOXES]))
