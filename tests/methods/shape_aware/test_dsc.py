"""DSC: enlarged RoIs, shapes that follow them, scores and masks."""

import numpy as np
import pytest
import torch
from helpers import BOXES, demo_batch, losses_of, mini_config, total_loss
from mmdet.registry import MODELS
from mmdet.structures.mask import PolygonMasks
from mmengine.structures import InstanceData, PixelData
from torch import nn

from mmdet_assigners.methods.shape_aware.functional import enlarge
from mmdet_assigners.utils import config_path

MAIN = 'dsc-without-semantic_r50_fpn_1x_coco'
RATIOS = (2.0, 1.59, 1.26, 1.0)


def detector(change=None, name=MAIN):
    cfg = mini_config(config_path(name)).model
    if change is not None:
        change(cfg)
    torch.manual_seed(0)
    model = MODELS.build(cfg)
    model.init_weights()
    return model


def features(model, boxes, training=True):
    data = model.data_preprocessor(demo_batch(boxes), training)
    samples = data['data_samples']
    feats = model.extract_feat(data['inputs'])
    torch.manual_seed(2)
    proposals = []
    for sample in samples:
        own = sample.gt_instances.bboxes.repeat(6, 1)
        moved = own + torch.randn(own.shape) * (len(own) > 0)
        proposals.append(InstanceData(bboxes=moved.clamp(0, 128)))
    return feats, proposals, samples


def standing(model):
    """The model, with boxes that do not move."""
    for head in model.roi_head.bbox_head:
        nn.init.zeros_(head.fc_reg.weight)
        nn.init.zeros_(head.fc_reg.bias)
    return model


def spied(module):
    """Arguments of each call of a module."""
    calls = []
    module.register_forward_hook(
        lambda _, args, kwargs, out: calls.append((args, kwargs, out)),
        with_kwargs=True,
    )
    return calls


@pytest.mark.parametrize('training', [True, False])
def test_rois_of_the_stages(training):
    """Masks of all stages, boxes of all but the last in enlarged RoIs."""
    model = standing(detector()).train(training)
    head = model.roi_head
    masks = [spied(extractor) for extractor in head.mpn_roi_extractor]
    boxes = [spied(extractor) for extractor in head.bbox_roi_extractor]
    relative = spied(head.relative_roi_extractor)
    if training:
        head.loss(*features(model, [BOXES, BOXES[:2]]))
    else:
        with torch.no_grad():
            head.predict(*features(model, [BOXES, BOXES[:2]], False))
    rois = []  # of each stage, not enlarged
    for stage, ratio in enumerate(RATIOS[:3]):
        (((_, frames), _, _),) = masks[stage]
        (((_, own), kwargs, _),) = boxes[stage]
        assert kwargs['masks'].shape == (len(frames), 1, 28, 28)
        rois.append(enlarge(frames, 1 / ratio))
        expected = rois[-1] if stage == 2 else frames
        torch.testing.assert_close(own, expected, rtol=0, atol=1e-3)
    for stage, ((_, frames, before), _, _) in enumerate(relative[:2]):
        # the previous stage had each RoI in this order, too
        for ratio, found in zip(
            RATIOS[stage:], (before, frames), strict=False
        ):
            expected = enlarge(rois[stage + 1], ratio)
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-3)


def test_features_follow_their_rois():
    """Stages order RoIs anew; the maps of the last stage go with them."""
    model = standing(detector()).train()
    head = model.roi_head
    outs = [spied(mpn) for mpn in head.mpn]
    frames = [spied(extractor) for extractor in head.mpn_roi_extractor]
    relative = spied(head.relative_roi_extractor)
    head.loss(*features(model, [BOXES, BOXES[:2]]))
    for stage in range(2):
        (feats, _, before), _, _ = relative[stage]
        ((_, _, (_, made)),) = outs[stage]
        (((_, own), _, _),) = frames[stage]
        place = (before[:, None] - own).abs().amax(2).argmin(1)
        assert len(place.unique()) > 40
        torch.testing.assert_close(own[place], before)
        # equal RoIs have equal maps
        torch.testing.assert_close(feats, made[place])


def test_ground_truths_stay():
    model = detector().train()
    head = model.roi_head
    for box_head in head.bbox_head:
        nn.init.constant_(box_head.fc_reg.bias, 0.5)
    last = spied(head.bbox_roi_extractor[2])
    head.loss(*features(model, [BOXES, BOXES[:2]]))
    (((_, rois), _, _),) = last
    for image, boxes in enumerate((BOXES, BOXES[:2])):
        own = rois[rois[:, 0] == image, 1:]
        for box in torch.tensor(boxes):
            assert (own == box).all(1).any()
    # others moved
    assert len(rois) > 40


def test_masks_are_of_the_detections_own_rois():
    model = standing(detector()).eval()
    head = model.roi_head
    head.test_cfg.score_thr = 0.0
    head.test_cfg.max_per_img = 7
    relative = spied(head.relative_roi_extractor)
    with torch.no_grad():
        found = head.predict(*features(model, [BOXES, BOXES[:2]], False))
    (feats, frames, before), _, _ = relative[-1]
    count = sum(len(one) for one in found)
    assert len(feats) == count > 7 and frames.shape == (count, 5)
    boxes = torch.cat([one.bboxes for one in found])
    torch.testing.assert_close(frames[:, 1:], boxes)
    torch.testing.assert_close(
        before, enlarge(frames, 1.26), rtol=0, atol=1e-3
    )
    for one in found:
        assert set(one.keys()) == {'bboxes', 'scores', 'labels', 'masks'}


@pytest.mark.parametrize('count', [1, 2, 3])
def test_scores_are_means_of_the_last_stages(count):
    model = detector(lambda cfg: cfg.roi_head.update(num_score_stages=count))
    head = model.eval().roi_head
    heads = [spied(box_head) for box_head in head.bbox_head]
    with torch.no_grad():
        feats, proposals, samples = features(model, [BOXES], False)
        metas = [sample.metainfo for sample in samples]
        (found,) = head.predict_bbox(feats, metas, proposals, None)
    logits = [calls[0][2][0] for calls in heads]
    mean = sum(logits[-count:]) / count
    torch.testing.assert_close(found.scores, mean.softmax(1))


def test_box_loss_trains_the_mask_proposals():
    model = detector().train()
    losses = losses_of(model, demo_batch([BOXES]))
    losses['s0.loss_cls'].backward()
    grads = [mpn.conv_logits.weight.grad for mpn in model.roi_head.mpn]
    assert grads[0].abs().sum() > 0
    assert grads[1] is None and grads[2] is None


def test_semantic_branch():
    def semantic(cfg):
        cfg.roi_head.semantic_head = dict(
            type='FusedSemanticHead',
            num_ins=5,
            fusion_level=1,
            num_convs=1,
            in_channels=64,
            conv_out_channels=64,
            num_classes=3,
        )
        cfg.roi_head.semantic_roi_extractor = dict(
            type='SingleRoIExtractor',
            roi_layer=dict(type='RoIAlign', output_size=14),
            out_channels=64,
            featmap_strides=[8],
        )

    model = detector(semantic).train()
    batch = demo_batch([BOXES, BOXES[:2]])
    with pytest.raises(ValueError, match='gt_sem_seg is missing'):
        losses_of(model, batch)
    for sample in batch['data_samples']:
        sample.gt_sem_seg = PixelData(
            sem_seg=torch.randint(0, 3, (1, 128, 160))
        )
    losses = losses_of(model, batch)
    assert losses.pop('loss_semantic_seg') > 0
    total_loss(losses).backward()
    head = model.roi_head.semantic_head
    # through the features of the RoIs
    assert head.conv_embedding.conv.weight.grad.abs().sum() > 0
    with torch.no_grad():
        found = model.eval().roi_head.predict(
            *features(model, [BOXES, []], False)
        )
    assert len(found) == 2


def test_clipped_frames():
    model = detector(lambda cfg: cfg.roi_head.update(clip=True)).eval()
    head = model.roi_head
    relative = spied(head.relative_roi_extractor)
    masks = [spied(extractor) for extractor in head.mpn_roi_extractor]
    with torch.no_grad():
        head.predict(*features(model, [BOXES], False))
    for calls in masks:
        (((_, frames), _, _),) = calls
        assert (frames[:, 1:] >= 0).all()
        assert (frames[:, 1::2] <= 160).all()
        assert (frames[:, 2::2] <= 128).all()
    for (_, frames, before), _, _ in relative:
        assert (frames[:, 1:3] >= before[:, 1:3]).all()
        assert (frames[:, 3:] <= before[:, 3:]).all()


def test_no_proposals():
    model = detector().train()
    head = model.roi_head
    expected = head.loss(*features(model, [BOXES, BOXES])).keys()
    losses = head.loss(*features(model, [[], []]))
    assert losses.keys() == expected
    loss = total_loss(losses)
    assert loss == 0
    loss.backward()
    assert all(p.grad is not None for p in head.parameters())
    for name, buffer in head.named_buffers():
        assert buffer.isfinite().all(), name
    head.eval()
    for boxes in ([[], []], [[], BOXES]):
        with torch.no_grad():
            found = head.predict(*features(model, boxes, False))
        assert [len(one.masks) for one in found] == [len(f) for f in found]


def polygons(sample):
    """The boxes as polygons."""
    rings = [
        [np.array([x1, y1, x2, y1, x2, y2, x1, y2], float)]
        for x1, y1, x2, y2 in sample.gt_instances.bboxes.tolist()
    ]
    return PolygonMasks(rings, 128, 160)


def empty(sample):
    masks = sample.gt_instances.masks
    masks.masks[:] = 0
    return masks


@pytest.mark.parametrize('convert', [polygons, empty])
@pytest.mark.parametrize('name', [MAIN, 'mask-refining-rcnn_r50_fpn_1x_coco'])
def test_masks_of_any_format(name, convert):
    model = detector(name=name).train()
    losses = []
    for change in (None, convert):
        batch = demo_batch([BOXES, BOXES[:2]])
        for sample in batch['data_samples']:
            if change is not None:
                sample.gt_instances.masks = change(sample)
        torch.manual_seed(3)
        losses.append(losses_of(model, batch))
        assert torch.isfinite(total_loss(losses[-1]))
    first, other = losses
    assert first.keys() == other.keys()
    if convert is polygons:
        sums = [total_loss(one).item() for one in losses]
        assert sums[1] == pytest.approx(sums[0], 1e-3)


def test_without_masks_boxes_are_trained():
    def boxes_only(cfg):
        cfg.roi_head.mask_head = cfg.roi_head.mask_roi_extractor = None

    model = detector(boxes_only).train()
    batch = demo_batch([BOXES])
    for sample in batch['data_samples']:
        sample.gt_instances.pop('masks')
    losses = losses_of(model, batch)
    assert losses['s0.loss_mpn'] == 0 and losses['s0.loss_cls'] > 0
    with_masks = losses_of(model, demo_batch([BOXES]))
    assert with_masks['s0.loss_mpn'] > 0


def test_autocast_is_finite():
    model = detector().train()
    inputs = features(model, [BOXES, BOXES[:2]])
    with torch.autocast('cpu', torch.bfloat16):
        losses = model.roi_head.loss(*inputs)
    loss = total_loss(losses)
    assert torch.isfinite(loss) and loss.dtype == torch.float32
    loss.backward()


@pytest.mark.parametrize(
    ('change', 'text'),
    [
        (
            lambda cfg: cfg.roi_head.update(mpn=cfg.roi_head.mpn[:2]),
            'mpn must have num_stages=3 entries, got 2',
        ),
        (
            lambda cfg: cfg.roi_head.update(enlarge_ratios=(2.0, 1.0)),
            'enlarge_ratios must be 4 positive numbers',
        ),
        (
            lambda cfg: cfg.roi_head.update(num_score_stages=4),
            'num_score_stages must be 1 to 3, got 4',
        ),
        (
            lambda cfg: cfg.train_cfg.update(rcnn=cfg.train_cfg.rcnn[:3]),
            'DSCRoIHead must be a list of 4',
        ),
        (
            lambda cfg: cfg.train_cfg.rcnn[1].update(
                sampler=cfg.train_cfg.rcnn[0].sampler
            ),
            'add_gt_as_proposals must be False',
        ),
    ],
)
def test_refuses(change, text):
    with pytest.raises(ValueError, match=text):
        detector(change)
