"""The Guided Anchoring heads against their mmdet parents."""

import json
import math
import pickle

import mmcv
import numpy as np
import pytest
import torch
from helpers import BOXES, demo_batch, make_feats
from mmdet.models.dense_heads import GARetinaHead, GARPNHead
from mmdet.models.dense_heads.guided_anchor_head import FeatureAdaption
from mmdet.models.utils import unpack_gt_instances
from mmdet.registry import DATASETS
from mmengine.config import Config, ConfigDict
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData

from mmdet_assigners.methods.guided_anchoring.heads import (
    BatchGARetinaHead,
    BatchGARPNHead,
    BatchGuidedAnchorHead,
)
from mmdet_assigners.methods.guided_anchoring.layers import (
    BatchFeatureAdaption,
)
from mmdet_assigners.utils import config_path

STRIDES = [8, 16, 32]
PAIRS = [(BatchGARetinaHead, GARetinaHead), (BatchGARPNHead, GARPNHead)]
IDS = ['retina', 'rpn']
IOU = dict(pos_iou_thr=0.5, neg_iou_thr=0.4, min_pos_iou=0.4)


def build(cls, **options):
    rpn = issubclass(cls, GARPNHead)
    more = dict(num_classes=1) if rpn else dict(num_classes=2)
    if issubclass(cls, GARetinaHead):
        more['stacked_convs'] = 1
    loss_cls = dict(type='CrossEntropyLoss', use_sigmoid=True)
    common = dict(nms_pre=30, min_bbox_size=0)
    if rpn:
        nms = dict(type='nms', iou_threshold=0.7)
        test_cfg = dict(common, nms=nms, nms_post=30, max_per_img=20)
    else:
        loss_cls = dict(type='FocalLoss', use_sigmoid=True)
        nms = dict(type='nms', iou_threshold=0.5)
        test_cfg = dict(common, nms=nms, score_thr=0.05, max_per_img=20)
    init_default_scope('mmdet')
    torch.manual_seed(0)
    head = cls(
        in_channels=8,
        feat_channels=8,
        approx_anchor_generator=dict(
            type='AnchorGenerator',
            octave_base_scale=4,
            scales_per_octave=3,
            ratios=[0.5, 1.0, 2.0],
            strides=STRIDES,
        ),
        square_anchor_generator=dict(
            type='AnchorGenerator', ratios=[1.0], scales=[4], strides=STRIDES
        ),
        loss_cls=loss_cls,
        train_cfg=ConfigDict(
            ga_assigner=dict(
                type='ApproxMaxIoUAssigner',
                **IOU,
                ignore_iof_thr=options.pop('ignore_iof_thr', -1),
            ),
            ga_sampler=dict(
                type='RandomSampler',
                num=256,
                pos_fraction=0.5,
                add_gt_as_proposals=False,
            ),
            assigner=dict(type='MaxIoUAssigner', **IOU, ignore_iof_thr=-1),
            sampler=dict(type='PseudoSampler'),
            allowed_border=-1,
            pos_weight=-1,
            center_ratio=0.2,
            ignore_ratio=0.5,
        ),
        test_cfg=ConfigDict(test_cfg),
        **more,
        **options,
    )
    for _, parameter in sorted(head.named_parameters()):
        torch.nn.init.normal_(parameter, std=0.2)
    return head


def feats_of(batch, seed=1):
    return make_feats(STRIDES, batch, seed=seed)


def losses_of(head, boxes):
    torch.manual_seed(0)  # the sampler draws
    samples = demo_batch(boxes, num_classes=1)['data_samples']
    losses = head.train().loss(feats_of(len(boxes)), samples)
    return {
        name: sum(value) if isinstance(value, list) else value
        for name, value in losses.items()
    }


@pytest.mark.parametrize(('ours', 'theirs'), PAIRS, ids=IDS)
@pytest.mark.parametrize('boxes', [[BOXES, BOXES[1:3]], [BOXES, []]])
def test_equals_mmdet_in_training(ours, theirs, boxes):
    """Losses and all gradients, with mmdet's inverted location labels."""
    ours, theirs = build(ours, invert_loc_target=True), build(theirs)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    found, expected = losses_of(ours, boxes), losses_of(theirs, boxes)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(
            found[name], value, rtol=1e-4, atol=1e-5, msg=name
        )
    sum(found.values()).backward()
    sum(expected.values()).backward()
    grads = dict(theirs.named_parameters())
    for name, parameter in ours.named_parameters():
        expected = grads[name].grad
        error = (parameter.grad - expected).norm() / expected.norm()
        # the slope of bilinear sampling jumps at cell borders, where float32
        # may see a sample on the other side (exact below in float64)
        assert error < (0.01 if 'conv_offset' in name else 1e-4), name


def test_location_branch_learns_that_centers_are_positive():
    """mmdet 3 teaches the opposite: label 1 is its background."""
    probability = []
    for invert in (False, True):
        head = build(BatchGARPNHead, invert_loc_target=invert).train()
        loc = [torch.zeros(1, 1, *x.shape[2:]) for x in feats_of(1)]
        for x in loc:
            x.requires_grad_()
        gts, _, _ = unpack_gt_instances(demo_batch([BOXES])['data_samples'])
        sizes = [x.shape[2:] for x in loc]
        head._loss_loc(loc, sizes, gts).backward()
        # a step against the gradient, in the cell of the first box's center
        row, column = int(22 / 8 + 0.5), int(19 / 8 + 0.5)
        probability.append(-loc[0].grad[0, 0, row, column].item())
    assert probability[0] > 0 > probability[1]


@pytest.mark.parametrize(('cls', '_'), PAIRS, ids=IDS)
def test_batch_of_three_equals_three_batches(cls, _):
    """Each image has its own location mask."""
    head = build(cls, loc_filter_thr=0.45).eval()
    feats = feats_of(3)
    samples = demo_batch([BOXES] * 3)['data_samples']
    with torch.no_grad():
        masks = head(feats)[3][0].sigmoid() >= 0.45
        assert 0 < masks.sum() < masks.numel()
        assert not torch.equal(masks[0], masks[1])
        batched = head.predict(feats, samples)
        for i, expected in enumerate(batched):
            part = [x[i : i + 1] for x in feats]
            single = head.predict(part, samples[i : i + 1])[0]
            assert len(single) == len(expected) > 0
            torch.testing.assert_close(
                single.bboxes, expected.bboxes, rtol=1e-4, atol=1e-3
            )
            torch.testing.assert_close(single.scores, expected.scores)


@pytest.mark.parametrize(('ours', 'theirs'), PAIRS, ids=IDS)
def test_single_image_equals_mmdet(ours, theirs):
    """Where nothing is masked; mmdet's masked convolution needs CUDA."""
    ours = build(ours, loc_filter_thr=0.0).eval()
    theirs = build(theirs, loc_filter_thr=0.0).train()
    theirs.load_state_dict(ours.state_dict())
    samples = demo_batch([BOXES])['data_samples']
    with torch.no_grad():
        found = ours.predict(feats_of(1), samples)[0]
        expected = theirs.predict(feats_of(1), samples)[0]
    assert len(found) == len(expected) > 0
    torch.testing.assert_close(found.scores, expected.scores)
    torch.testing.assert_close(
        found.bboxes, expected.bboxes, rtol=1e-4, atol=1e-3
    )


@pytest.mark.parametrize(('cls', '_'), PAIRS, ids=IDS)
def test_nothing_above_the_threshold_is_no_detection(cls, _):
    head = build(cls, loc_filter_thr=1.0).eval()
    samples = demo_batch([BOXES] * 2)['data_samples']
    with torch.no_grad():
        for found in head.predict(feats_of(2), samples, rescale=True):
            assert found.bboxes.shape == (0, 4)
            assert found.scores.shape == found.labels.shape == (0,)
            assert found.labels.dtype == torch.long
    with pytest.raises(ValueError, match=r'loc_filter_thr .*\[0, 1\], got 2'):
        build(cls, loc_filter_thr=2)


def test_feature_adaption_equals_mmdets():
    """Values and gradients."""
    torch.manual_seed(0)
    ours, theirs = BatchFeatureAdaption(8, 6), FeatureAdaption(8, 6)
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    x, shape = torch.randn(2, 8, 7, 9), torch.randn(2, 2, 7, 9)
    outs = []
    for module in (ours.double(), theirs.double()):
        out = module(x.double(), shape.double())
        out.square().sum().backward()
        outs.append([out, *(p.grad for p in module.parameters())])
    for one, two in zip(*outs, strict=True):
        torch.testing.assert_close(one, two)


@pytest.mark.parametrize(
    'cls', [BatchGuidedAnchorHead, BatchGARPNHead, BatchGARetinaHead]
)
def test_location_bias(cls):
    """Also of the base class, whose own default raises in mmdet."""
    head = build(cls)
    head.init_weights()
    assert head.conv_loc.bias.item() == pytest.approx(-math.log(99))


@pytest.mark.parametrize(('ours', 'theirs'), PAIRS, ids=IDS)
def test_same_initialization_as_mmdet(ours, theirs):
    states = []
    for cls in (ours, theirs):
        head = build(cls)
        head.init_weights()
        states.append(head.state_dict())
    for name, value in states[1].items():
        if 'conv_offset' in name:  # of the official code
            assert 0.08 < states[0][name].std() < 0.12
        elif value.numel() > 8:  # one draw of each
            ratio = (states[0][name].std() / value.std()).item()
            assert 0.5 < ratio < 2, name
        elif 'bias' in name:
            assert torch.equal(states[0][name], value), name


def test_ignored_regions_reach_the_shape_targets():
    head = build(BatchGARetinaHead, ignore_iof_thr=0.5).train()
    samples = demo_batch([BOXES])['data_samples']
    torch.manual_seed(0)
    without = head.loss(feats_of(1), samples)
    samples[0].ignored_instances = InstanceData(
        bboxes=torch.tensor([[-500.0, -500, 700, 700]])
    )
    torch.manual_seed(0)
    ignored = head.loss(feats_of(1), samples)
    assert without['loss_shape'] > 0
    assert ignored['loss_shape'] == 0


def test_assignment_for_images():
    head = build(BatchGARetinaHead)
    gts, _, metas = unpack_gt_instances(
        demo_batch([BOXES, []])['data_samples']
    )
    outs = head(feats_of(2))
    first, empty = head.get_assignment(outs, gts, metas)
    assert first.priors.shape == (16 * 20 + 8 * 10 + 4 * 5, 4)
    assert (first.assigned_gt >= 0).any()
    assert (empty.assigned_gt == -1).all()
    # predicted anchors differ between the images
    assert not torch.equal(first.priors, empty.priors)


def test_fast_rcnn_config():
    """Proposals of GA-RPN, at most 300, and clipped gradients."""
    cfg = Config.fromfile(
        config_path('batch-ga-fast-rcnn_r50-caffe_fpn_1x_coco')
    )
    for part, split in (('train', 'train'), ('val', 'val'), ('test', 'val')):
        dataset = cfg[f'{part}_dataloader'].dataset
        assert dataset.proposal_file.endswith(
            f'ga_rpn_r50_fpn_1x_{split}2017.pkl'
        )
        load = dataset.pipeline[1]
        assert load == dict(type='LoadProposals', num_max_proposals=300)
        kinds = [step.type for step in dataset.pipeline]
        assert 'ProposalBroadcaster' in kinds
    assert cfg.optim_wrapper.clip_grad.max_norm == 35
    rcnn = cfg.model.train_cfg.rcnn
    assert rcnn.sampler.num == 256
    assert rcnn.assigner.pos_iou_thr == rcnn.assigner.min_pos_iou == 0.6
    coder = cfg.model.roi_head.bbox_head.bbox_coder
    assert coder.target_stds == [0.05, 0.05, 0.1, 0.1]
    assert cfg.model.test_cfg.rcnn.score_thr == 1e-3


def test_fast_rcnn_pipeline_delivers_300_proposals(tmp_path):
    """From the file that the config names, the best ones, all in float32."""
    init_default_scope('mmdet')
    cfg = Config.fromfile(
        config_path('batch-ga-fast-rcnn_r50-caffe_fpn_1x_coco')
    ).train_dataloader.dataset
    (tmp_path / 'train2017').mkdir()
    (tmp_path / 'annotations').mkdir()
    (tmp_path / 'proposals').mkdir()
    image = np.zeros((480, 640, 3), np.uint8)
    mmcv.imwrite(image, str(tmp_path / 'train2017' / '1.jpg'))
    box = dict(id=1, image_id=1, bbox=[9, 9, 90, 90], area=8100, iscrowd=0)
    content = dict(
        images=[dict(id=1, file_name='1.jpg', width=640, height=480)],
        annotations=[dict(box, category_id=1)],
        categories=[dict(id=1, name='person')],
    )
    path = tmp_path / 'annotations' / 'instances_train2017.json'
    path.write_text(json.dumps(content))
    corner = np.random.default_rng(0).uniform(0, 300, (500, 2))
    scores = np.linspace(1, 0, 500)
    boxes = np.concatenate((corner, corner + 50), 1)
    proposals = {'train2017/1.jpg': dict(bboxes=boxes, scores=scores)}
    (tmp_path / cfg.proposal_file).write_bytes(pickle.dumps(proposals))
    cfg.data_root = str(tmp_path)
    found = DATASETS.build(cfg)[0]['data_samples'].proposals
    assert found.bboxes.shape == (300, 4)
    assert found.scores.tolist() == scores[:300].astype('float32').tolist()
    # resized with the image
    assert (found.bboxes[:, 2] - found.bboxes[:, 0]).numpy() == pytest.approx(
        50 * 800 / 480, rel=1e-3
    )
