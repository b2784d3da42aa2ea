"""Parts of ours under parts of mmdet that don't know them: a clear error."""

import pickle

import pytest
import torch
from helpers import BOXES, demo_batch, losses_of, make_feats, mini_config
from mmdet.registry import MODELS
from mmengine.runner.checkpoint import load_state_dict
from torch import nn

from mmdet_assigners.methods.sepc.pair_features import FeaturePair
from mmdet_assigners.utils import config_path, registered_names

LOSSES = sorted(
    name
    for name, cls in registered_names().items()
    if issubclass(cls, nn.Module) and name.endswith('Loss')
)


def build(config, change):
    torch.manual_seed(0)
    cfg = mini_config(config_path(config)).model
    change(cfg)
    model = MODELS.build(cfg)
    model.init_weights()
    return model.train()


@pytest.mark.parametrize('roi_head', ['StandardRoIHead', 'CascadeRoIHead'])
def test_kl_box_head_outside_its_roi_head(roi_head):
    def change(model):
        model.roi_head.type = roi_head
        if roi_head == 'CascadeRoIHead':
            model.roi_head.update(num_stages=1, stage_loss_weights=[1.0])
            model.train_cfg.rcnn = [model.train_cfg.rcnn]

    model = build('kl-loss_faster-rcnn_r50_fpn_2x_coco', change)
    message = r'returned cls_score, bbox_pred, alpha .* KLRoIHead'
    with pytest.raises(TypeError, match=message):
        losses_of(model, demo_batch([BOXES]))
    model.eval()
    data = model.data_preprocessor(demo_batch([BOXES]), False)
    with pytest.raises(TypeError, match=message), torch.no_grad():
        model(**data, mode='predict')


def test_pairs_of_features_under_heads_for_maps():
    def change(model):
        model.bbox_head.type = 'RetinaHead'

    model = build('pconv_retinanet_r50_fpn_1x_coco', change)
    with pytest.raises(TypeError, match=r'\(cls, reg\) pair .* SEPCRetina'):
        losses_of(model, demo_batch([BOXES]))


def test_pairs_of_features_under_a_roi_extractor():
    pairs = [FeaturePair((x, x)) for x in make_feats([8])]
    rois = torch.tensor([[0.0, 8, 8, 40, 40]])
    extractor = MODELS.build(
        dict(
            type='SingleRoIExtractor',
            roi_layer=dict(type='RoIAlign', output_size=7),
            out_channels=8,
            featmap_strides=[8],
        )
    )
    with pytest.raises(TypeError, match='task_convs=False'):
        extractor(pairs, rois)
    with pytest.raises(AttributeError, match=r"task_convs=False .* 'shape'"):
        _ = pairs[0].shape
    assert pickle.loads(pickle.dumps(pairs))[0][1].equal(pairs[0][1])


@pytest.mark.parametrize(
    'config', ['mal_r50_fpn_18e_coco', 'fpt_faster-rcnn_r50_1x_coco']
)
def test_voting_under_a_head_without_sigmas(config):
    def change(model):
        test_cfg = model.test_cfg.get('rcnn', model.test_cfg)
        test_cfg.nms = dict(type='var_voting')
        test_cfg.score_thr = 0.0

    model = build(config, change).eval()
    data = model.data_preprocessor(demo_batch([BOXES]), False)
    with pytest.raises(TypeError, match=r'needs a head that predicts box_sig'):
        with torch.no_grad():
            model(**data, mode='predict')


@pytest.mark.parametrize('loss', ['APLoss', 'DRLoss'])
@pytest.mark.parametrize(
    ('config', 'head'),
    [
        ('ap-loss_retinanet_r50_fpn_1x_coco', 'RetinaHead'),
        ('ap-loss_retinanet_r50_fpn_1x_coco', 'FlatRetinaHead'),
        ('ap-loss_fcos_r50-caffe_fpn_gn-head_1x_coco', 'FCOSHead'),
        ('ap-loss_atss_r50_fpn_1x_coco', 'ATSSHead'),
        ('ap-loss_atss_r50_fpn_1x_coco', 'ATSSLadderHead'),
    ],
)
def test_ranking_losses_level_by_level(loss, config, head):
    def change(model):
        model.bbox_head.type = head
        model.bbox_head.loss_cls = dict(type=loss)

    model = build(config, change)
    message = rf'{loss} ranks all levels .* RankingRetinaHead'
    with pytest.raises(TypeError, match=message):
        losses_of(model, demo_batch([BOXES]))


def logits(rows):
    return torch.randn(rows, 4, generator=torch.Generator().manual_seed(0))


def classes(rows):
    return torch.arange(rows) % 5


def calls_of(name):
    """Arguments that fit, and one that would be broadcast for each."""
    rows = 6
    if name == 'SoftFocalLoss':
        fits = (logits(rows), (classes(rows), torch.ones(rows)))
        wrong = [
            (logits(rows), (classes(1), torch.ones(rows))),
            (logits(rows), (classes(rows), torch.ones(1))),
            (logits(rows), classes(1)),
            (logits(1), classes(rows)),
        ]
    elif name == 'GeneralizedFocalLoss':
        fits = (logits(rows), (classes(rows), torch.ones(rows)))
        wrong = [
            (logits(rows), (classes(1), torch.ones(rows))),
            (logits(rows), (classes(rows), torch.ones(1))),
        ]
    elif name in ('APLoss', 'DRLoss'):
        fits = (logits(rows), classes(rows))
        wrong = [(logits(rows), classes(1)), (logits(1), classes(rows))]
    else:
        count = 2 if name == 'GAShapeLoss' else 3
        fits = tuple(logits(rows).abs() + i for i in range(count))
        wrong = [
            tuple(logits(1).abs() if i == j else x for j, x in enumerate(fits))
            for i in range(count)
        ]
    return fits, wrong


@pytest.mark.parametrize('name', LOSSES)
def test_losses_refuse_what_would_be_broadcast(name):
    form = dict(form='quality') if name == 'GeneralizedFocalLoss' else {}
    loss = MODELS.build(dict(type=name, **form))
    fits, wrong = calls_of(name)
    assert torch.isfinite(loss(*fits))
    for arguments in wrong:
        with pytest.raises(ValueError, match=r'\(1,'):
            loss(*arguments)
    for weight in (torch.ones(1), torch.ones(6, 1), torch.ones(1, 4)):
        with pytest.raises(ValueError, match='weight'):
            loss(*fits, weight=weight)
    if name not in ('APLoss', 'DRLoss'):
        with pytest.raises(ValueError, match=r'avg_factor must be a number'):
            loss(*fits, avg_factor=torch.ones(6))


@pytest.mark.parametrize(
    ('config', 'head'),
    [
        ('tsd_mask-rcnn_r50_fpn_14e_coco', 'TSDRoIHead'),
        ('d2det-instance_r101_fpn_2x_coco', 'D2DetRoIHead'),
        ('mask-refining-rcnn_r50_fpn_1x_coco', 'MaskRefiningRoIHead'),
        ('dsc-without-semantic_r50_fpn_1x_coco', 'DSCRoIHead'),
    ],
)
def test_masks_are_trained_without_masks(config, head):
    model = build(config, lambda cfg: None)
    batch = demo_batch([BOXES, BOXES])
    for sample in batch['data_samples']:
        del sample.gt_instances.masks
    message = rf'masks must be .* got NoneType: {head} trains .*with_mask=True'
    with pytest.raises(ValueError, match=message):
        losses_of(model, batch)


@pytest.mark.parametrize(
    ('name', 'options'),
    [
        ('PSResNet', dict(depth=50)),
        ('PyConvResNet', dict(depth=50)),
        ('CSPDarknet53', {}),
        ('SpineNet', {}),
        ('HitBackbone', {}),
    ],
)
@pytest.mark.parametrize('other', [False, True])
def test_weights_that_a_backbone_has_no_place_for(name, options, other):
    """mmengine would log it, and the training start from random weights."""
    with torch.device('meta'):
        net = MODELS.build(dict(type=name, **options))
    # of a detector, without prefix='backbone.'; of another network
    state = dict.fromkeys(
        ['stem.weight', 'head.bias']
        if other
        else [f'backbone.{key}' for key in net.state_dict()]
    )
    message = (
        rf'none of {len(state)} keys such as {next(iter(state))} is one of '
        rf'{name}, which has .* prefix=backbone\. in init_cfg; released '
    )
    with pytest.raises(ValueError, match=message) as caught:
        load_state_dict(net, state)
    assert '\n' not in str(caught.value)
