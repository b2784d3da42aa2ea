"""The FSAF heads against their mmdet parents."""

import pytest
import torch
from helpers import BOXES, demo_batch, initial_bias, make_feats
from mmdet.models.dense_heads import FSAFHead, RetinaHead
from mmdet.models.utils import unpack_gt_instances
from mmengine.config import ConfigDict

from mmdet_assigners.methods.fsaf.paper_head import FSAFPaperHead
from mmdet_assigners.methods.fsaf.retina_head import RetinaFSAFHead
from mmdet_assigners.small_scale import load_config

STRIDES = [8, 16, 32, 64]
COMMON = dict(num_classes=2, in_channels=8, feat_channels=8, stacked_convs=1)
FOCAL = dict(type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25)
TEST = ConfigDict(
    nms_pre=50,
    min_bbox_size=0,
    score_thr=0.05,
    nms=dict(type='nms', iou_threshold=0.5),
    max_per_img=20,
)
MMDET = 'mmdet::fsaf/fsaf_r50_fpn_1x_coco.py'
MMDET_RULES = dict(
    ignore_scale=0.2, ignore_adjacent_levels=False, unselected='ignore'
)


def randomize(head):
    torch.manual_seed(0)
    for _, parameter in sorted(head.named_parameters()):
        torch.nn.init.normal_(parameter, std=0.2)
    return head.double()


def fsaf(cls, neg_scale=0.2, **options):
    head = cls(
        **COMMON,
        reg_decoded_bbox=True,
        anchor_generator=dict(
            type='AnchorGenerator',
            octave_base_scale=1,
            scales_per_octave=1,
            ratios=[1.0],
            strides=STRIDES,
        ),
        bbox_coder=dict(type='TBLRBBoxCoder', normalizer=4.0),
        loss_cls=dict(FOCAL, reduction='none'),
        loss_bbox=dict(type='IoULoss', eps=1e-6, reduction='none'),
        train_cfg=ConfigDict(
            assigner=dict(
                type='CenterRegionAssigner',
                pos_scale=0.2,
                neg_scale=neg_scale,
                min_pos_iof=0.01,
                foreground_dominate=True,
            ),
            allowed_border=-1,
            pos_weight=-1,
        ),
        test_cfg=TEST,
        **options,
    )
    return randomize(head)


def retina(cls, **options):
    head = cls(
        **COMMON,
        anchor_generator=dict(
            type='AnchorGenerator',
            octave_base_scale=4,
            scales_per_octave=2,
            ratios=[0.5, 1.0],
            strides=STRIDES,
        ),
        loss_cls=FOCAL,
        loss_bbox=dict(type='L1Loss'),
        train_cfg=ConfigDict(
            assigner=dict(
                type='MaxIoUAssigner',
                pos_iou_thr=0.5,
                neg_iou_thr=0.4,
                min_pos_iou=0,
            ),
            sampler=dict(type='PseudoSampler'),
            allowed_border=-1,
            pos_weight=-1,
        ),
        test_cfg=TEST,
        **options,
    )
    return randomize(head)


def feats_of(batch):
    return make_feats(STRIDES, batch, dtype=torch.float64)


def losses_of(head, boxes):
    samples = demo_batch(boxes)['data_samples']
    losses = head.loss(feats_of(len(boxes)), samples)
    return {
        name: sum(value) if isinstance(value, list) else value
        for name, value in losses.items()
    }


def gradients(head, loss):
    head.zero_grad()
    loss.backward()
    return {
        name: parameter.grad
        for name, parameter in head.named_parameters()
        if parameter.grad is not None
    }


@pytest.mark.parametrize('scale', [0.2, 0.5])
@pytest.mark.parametrize('boxes', [[BOXES, BOXES[1:3]], [BOXES, []]])
def test_equals_fsaf_head_with_mmdets_rules(boxes, scale):
    """Losses and gradients; `foreground_dominate` is our rule."""
    rules = dict(MMDET_RULES, ignore_scale=scale)
    ours = fsaf(FSAFPaperHead, **rules)
    theirs = fsaf(FSAFHead, neg_scale=scale)
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    ours.load_state_dict(theirs.state_dict())
    found, expected = losses_of(ours, boxes), losses_of(theirs, boxes)
    assert expected['num_pos'] > 0
    for name in ('loss_cls', 'loss_bbox', 'num_pos'):
        torch.testing.assert_close(
            found[name], expected[name].to(found[name]), msg=name
        )
    grads = [
        gradients(head, losses['loss_cls'] + losses['loss_bbox'])
        for head, losses in ((ours, found), (theirs, expected))
    ]
    for name in grads[0]:
        torch.testing.assert_close(grads[0][name], grads[1][name], msg=name)


def test_paper_rules_differ_from_mmdets():
    boxes = [BOXES, BOXES[:2]]
    found = losses_of(fsaf(FSAFPaperHead), boxes)
    expected = losses_of(fsaf(FSAFPaperHead, **MMDET_RULES), boxes)
    assert not torch.isclose(found['loss_cls'], expected['loss_cls'])


def test_lambda_zero_is_retina_head():
    """Losses and gradients of the shared and the anchors' layers."""
    boxes = [BOXES, BOXES[:1]]
    theirs = retina(RetinaHead)
    ours = retina(RetinaFSAFHead, af_weight=0.0)
    missing = ours.load_state_dict(theirs.state_dict(), strict=False)
    assert sorted(missing.missing_keys) == [
        'fsaf_cls.bias',
        'fsaf_cls.weight',
        'fsaf_reg.bias',
        'fsaf_reg.weight',
    ]
    assert not missing.unexpected_keys
    found, expected = losses_of(ours, boxes), losses_of(theirs, boxes)
    assert found['loss_af_cls'] == found['loss_af_bbox'] == 0
    for name in ('loss_cls', 'loss_bbox'):
        torch.testing.assert_close(found[name], expected[name])
    total = sum(v for k, v in found.items() if 'loss' in k)
    grads = gradients(ours, total)
    expected = gradients(theirs, sum(expected.values()))
    for name, grad in expected.items():
        torch.testing.assert_close(grads[name], grad, msg=name)
    assert (grads['fsaf_cls.weight'] == 0).all()


def test_joint_loss_is_the_sum_of_its_branches():
    """The anchor-free part equals FSAFPaperHead with the same weights."""
    boxes = [BOXES, BOXES[:1]]
    joint = retina(RetinaFSAFHead)
    alone = fsaf(FSAFPaperHead)
    state = joint.state_dict()
    alone.load_state_dict(
        {
            name: state[name.replace('retina_', 'fsaf_')]
            for name in alone.state_dict()
        }
    )
    found, expected = losses_of(joint, boxes), losses_of(alone, boxes)
    for name in ('cls', 'bbox'):
        torch.testing.assert_close(
            found[f'loss_af_{name}'], 0.5 * expected[f'loss_{name}']
        )
    assert found['num_pos_af'] == expected['num_pos']


def test_module_adds_two_convolutions():
    sizes = {
        name: tuple(parameter.shape)
        for name, parameter in retina(RetinaFSAFHead).named_parameters()
        if name not in dict(retina(RetinaHead).named_parameters())
    }
    assert sizes == {
        'fsaf_cls.weight': (2, 8, 3, 3),
        'fsaf_cls.bias': (2,),
        'fsaf_reg.weight': (4, 8, 3, 3),
        'fsaf_reg.bias': (4,),
    }


def test_paper_initialization():
    head = RetinaFSAFHead(num_classes=2, in_channels=8, feat_channels=8)
    head.init_weights()
    assert (head.fsaf_reg.bias == 0.1).all()
    prior = head.fsaf_cls.bias.sigmoid()
    torch.testing.assert_close(prior, torch.full((2,), 0.01))
    head = FSAFPaperHead(
        num_classes=2,
        in_channels=8,
        bbox_coder=dict(type='TBLRBBoxCoder', normalizer=4.0),
        loss_bbox=dict(type='IoULoss'),
        loss_cls=FOCAL,
    )
    head.init_weights()
    assert (head.retina_reg.bias == 0.1).all()


@pytest.mark.parametrize(
    ('config', 'layer'),
    [
        ('fsaf_paper_r50_fpn_1x_coco', 'retina_reg'),
        ('retina-fsaf_r50_fpn_1x_coco', 'fsaf_reg'),
    ],
)
def test_the_overlay_alone_has_mmdets_distance_bias(config, layer):
    mmdets = initial_bias(MMDET, 'retina_reg', mini=True)
    assert initial_bias(config, layer) == pytest.approx(0.1)
    assert initial_bias(config, layer, mini=True) == mmdets == 0.25


def test_the_overlay_alone_clips_as_mmdet():
    name = 'fsaf_paper_r50_fpn_1x_coco'
    mmdets = load_config(MMDET, mini=True).optim_wrapper.clip_grad
    assert load_config(name).optim_wrapper.clip_grad is None
    assert load_config(name, mini=True).optim_wrapper.clip_grad == mmdets
    assert mmdets.max_norm == 10


@pytest.mark.parametrize(
    ('build', 'cls'), [(fsaf, FSAFPaperHead), (retina, RetinaFSAFHead)]
)
def test_bad_distance_bias(build, cls):
    with pytest.raises(ValueError, match=r'distance_bias must be pos.* got 0'):
        build(cls, distance_bias=0)


def test_predictions_are_the_union_of_both_branches():
    joint, alone = retina(RetinaFSAFHead).eval(), fsaf(FSAFHead).eval()
    state = joint.state_dict()
    alone.load_state_dict(
        {
            name: state[name.replace('retina_', 'fsaf_')]
            for name in alone.state_dict()
        }
    )
    anchors = retina(RetinaHead).eval()
    anchors.load_state_dict(state, strict=False)
    metas = [dict(img_shape=(128, 160), scale_factor=(0.5, 0.5))]
    feats = [x.float() for x in feats_of(1)]  # as the NMS of mmcv
    for head in (joint, alone, anchors):
        head.float()
    with torch.no_grad():
        outs = joint(feats)
        options = dict(batch_img_metas=metas, with_nms=False, rescale=True)
        union = joint.predict_by_feat(*outs, **options)[0]
        parts = [
            head.predict_by_feat(*head(feats), **options)[0]
            for head in (anchors, alone)
        ]
        final = joint.predict_by_feat(*outs, metas, rescale=True)[0]
    assert min(len(part) for part in parts) > 0
    assert len(union) == sum(len(part) for part in parts)
    for name in ('bboxes', 'scores', 'labels'):
        joined = torch.cat([part[name] for part in parts])
        torch.testing.assert_close(union[name], joined)
    assert 0 < len(final) <= 20
    assert (final.scores[1:] <= final.scores[:-1]).all()
    assert final.scores[0] == union.scores.max()


def test_selected_level_moves():
    """Training one image: loss falls, and not all levels are by size."""
    head = retina(RetinaFSAFHead)
    samples = demo_batch([BOXES])['data_samples']
    feats = feats_of(1)
    optimizer = torch.optim.Adam(head.parameters(), 0.01)
    totals = []
    for _ in range(30):
        losses = head.loss(feats, samples)
        total = losses['loss_af_cls'] + losses['loss_af_bbox']
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        totals.append(total.item())
    assert totals[-1] < 0.7 * totals[0]
    gts, _, metas = unpack_gt_instances(samples)
    outs = head(feats)
    online = head.get_assignment(outs, gts, metas)[0]
    by_size = retina(RetinaFSAFHead, level_select='heuristic')
    heuristic = by_size.get_assignment(outs, gts, metas)[0]
    assert not torch.equal(online.assigned_gt, heuristic.assigned_gt)


def test_assignment_for_images():
    head = fsaf(FSAFPaperHead)
    gts, _, metas = unpack_gt_instances(
        demo_batch([BOXES, []])['data_samples']
    )
    first, empty = head.get_assignment(head(feats_of(2)), gts, metas)
    assert set(first.assigned_gt.unique().tolist()) >= {-2, -1}
    positive = first.assigned_gt >= 0
    assert positive.any()
    assert ((first.weight > 0) == (first.assigned_gt != -2)).all()
    assert (empty.assigned_gt == -1).all()
    # a positive point lies in its box
    box = torch.tensor(BOXES).double()[first.assigned_gt[positive]]
    xy = first.priors[positive]
    assert ((xy > box[:, :2]) & (xy < box[:, 2:])).all()


@pytest.mark.parametrize(
    ('options', 'error', 'message'),
    [
        (dict(af_weight=-1), ValueError, 'af_weight must be at least 0'),
        (dict(level_select='size'), ValueError, 'level_select must be'),
        (
            dict(loss_af_bbox=dict(type='GIoULoss')),
            TypeError,
            "loss_bbox must be an IoULoss of mode 'log', got GIoULoss",
        ),
        (
            dict(loss_af_cls=dict(type='CrossEntropyLoss')),
            TypeError,
            'loss_cls must be a FocalLoss, got CrossEntropyLoss',
        ),
        (dict(eps=0.2), TypeError, 'eps'),
    ],
)
def test_bad_options(options, error, message):
    with pytest.raises(error, match=message):
        retina(RetinaFSAFHead, **options)
