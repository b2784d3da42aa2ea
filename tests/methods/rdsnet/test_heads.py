"""The two streams, and what they do with unusual ground truths."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import (
    BOXES,
    TINY_RETINA,
    box_masks,
    demo_batch,
    losses_of,
    make_feats,
    make_gts,
    mini_config,
    mini_model,
    total_loss,
)
from mmdet.registry import MODELS
from mmdet.structures.mask import PolygonMasks
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData

from mmdet_assigners.utils import config_path

CONFIG = Path(config_path('rdsnet_r50_fpn_1x_coco'))
META = dict(
    img_shape=(128, 160),
    pad_shape=(128, 160),
    ori_shape=(128, 160),
    batch_input_shape=(128, 160),
    scale_factor=(1.0, 1.0),
)
TRAIN = dict(
    assigner=dict(
        type='MaxIoUAssigner',
        pos_iou_thr=0.5,
        neg_iou_thr=0.4,
        min_pos_iou=0,
    ),
    allowed_border=-1,
    pos_weight=-1,
)
TEST = ConfigDict(
    nms_pre=1000,
    min_bbox_size=0,
    score_thr=0.0,
    nms=dict(type='nms', iou_threshold=0.5),
    max_per_img=20,
)


def build(kind, **changes):
    torch.manual_seed(0)
    head = MODELS.build(
        ConfigDict(
            type=kind,
            **TINY_RETINA,
            train_cfg=TRAIN,
            test_cfg=TEST,
            loss_cls=dict(type='FocalLoss', use_sigmoid=True),
            **changes,
        )
    )
    head.init_weights()
    return head


@pytest.fixture
def pair():
    """The object stream, and RetinaNet's head with its weights."""
    ours, theirs = build('RDSRetinaHead', rep_channels=3), build('RetinaHead')
    theirs.load_state_dict(
        {
            name: value
            for name, value in ours.state_dict().items()
            if 'rep' not in name
        }
    )
    return ours, theirs


def test_without_masks_it_is_retinanet(pair):
    gts = make_gts([BOXES, BOXES[:1]], [[0, 1, 0, 1], [1]])
    feats = make_feats()
    losses, detections = [], []
    for head in pair:
        outs = head(feats)
        found = head.loss_by_feat(*outs, gts, [META, META])
        losses.append(
            {name: total_loss({name: value}) for name, value in found.items()}
        )
        detections.append(
            head.predict_by_feat(*outs, batch_img_metas=[META, META])
        )
    torch.testing.assert_close(losses[0], losses[1])
    for ours, theirs in zip(*detections, strict=True):
        assert ours.reps.shape == (len(ours), 6)
        for key, value in theirs.items():
            assert torch.equal(ours[key], value), key


def test_boxes_keep_their_representations(pair):
    """Order of the channels: anchor, then background and foreground."""
    head = pair[0]
    outs = [list(maps) for maps in head(make_feats(batch=1))]
    sizes = [maps.shape[-2:] for maps in outs[0]]
    priors = head.prior_generator.grid_priors(sizes, device='cpu')
    # an anchor is known by its representation
    rows = [
        torch.stack([boxes.sum(1) + i for i in range(6)], 1)
        for boxes in priors
    ]
    outs[2] = [
        row.view(*size, -1).permute(2, 0, 1)[None]
        for row, size in zip(rows, sizes, strict=True)
    ]
    outs[1] = [torch.zeros_like(maps) for maps in outs[1]]
    meta = dict(META, img_shape=(9999, 9999))
    (found,) = head.predict_by_feat(*outs, batch_img_metas=[meta])
    assert len(found) == 20
    inside = (found.bboxes > 0).all(1)  # boxes are clipped at 0
    assert inside.any()
    expected = found.bboxes.sum(1, keepdim=True) + torch.arange(6)
    torch.testing.assert_close(found.reps[inside], expected[inside])


def test_positive_infos(pair):
    head = pair[0]
    gts = make_gts([BOXES, []], [[0, 1, 0, 1], []])
    outs = head(make_feats())
    head.loss_by_feat(*outs, gts, [META, META])
    infos = head.get_positive_infos()
    own, empty = infos
    assert len(empty) == 0 and empty.reps.shape == (0, 6)
    assert set(own.pos_assigned_gt_inds.tolist()) == {0, 1, 2, 3}
    boxes = torch.tensor(BOXES, dtype=torch.float32)
    assert torch.equal(own.bboxes, boxes[own.pos_assigned_gt_inds])
    flat = torch.cat(
        [x.permute(0, 2, 3, 1).reshape(2, -1, 6) for x in outs[2]], 1
    )
    assert torch.equal(own.reps, flat[0][own.pos_inds])
    copy.deepcopy(head)  # nothing of the batch is left in it


def mask_head(**changes):
    torch.manual_seed(0)
    options = dict(
        type='RDSMaskHead',
        in_channels=8,
        conv_out_channels=8,
        rep_channels=3,
    )
    head = MODELS.build({**options, **changes})
    head.init_weights()
    return head


def test_size_of_the_embedding():
    feats = make_feats()
    assert mask_head().embed(feats).shape == (2, 3, 32, 40)
    assert mask_head(num_convs=0).embed(feats).shape == (2, 3, 16, 20)
    assert mask_head(num_convs=2).embed(feats).shape == (2, 3, 64, 80)
    assert mask_head(end_level=0).embed(feats).shape == (2, 3, 32, 40)
    # sides that strides don't divide
    odd = [feats[0][..., :13, :17], feats[1][..., :7, :9]]
    assert mask_head(end_level=1).embed(odd).shape == (2, 3, 26, 34)


def test_convolutions_of_another_type():
    head = mask_head(conv_cfg=dict(type='DCNv2'), norm_cfg=dict(type='BN'))
    names = dict(head.named_parameters())
    assert 'final_convs.0.conv.conv_offset.weight' in names


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(end_level=-1), 'end_level must be at least 0, got -1'),
        (dict(crop_padding=-0.1), 'crop_padding must be at least 0'),
        (dict(test_crop_padding=-1), 'test_crop_padding must be at least 0'),
        (dict(neg_pos_ratio=-1), 'neg_pos_ratio must be at least 0'),
        (dict(max_masks_to_train=0), 'max_masks_to_train must be at least 1'),
        (dict(num_convs=-1), 'num_convs must be at least 0, got -1'),
    ],
)
def test_bad_options(changes, message):
    with pytest.raises(ValueError, match=message):
        mask_head(**changes)


def test_bad_parts():
    with pytest.raises(TypeError, match='mbrm must be a MaskBoundaryRef'):
        mask_head(mbrm=dict(type='GIoULoss'))
    with pytest.raises(
        ValueError, match=r'end_level must be below .*3, got 3'
    ):
        mask_head(end_level=3).embed(make_feats())
    with pytest.raises(ValueError, match='rep_channels must be at least 1'):
        build('RDSRetinaHead', rep_channels=0)
    cfg = mini_config(CONFIG).model
    cfg.mask_head.rep_channels = 16
    with pytest.raises(ValueError, match='must agree, got 16 and 32'):
        MODELS.build(cfg)
    cfg = mini_config(CONFIG).model
    cfg.bbox_head.pop('rep_channels', None)
    cfg.bbox_head.type = 'RetinaHead'
    with pytest.raises(TypeError, match='bbox_head must be a RDSRetinaHead'):
        MODELS.build(cfg)


def mask_loss(head, boxes=(BOXES,), masks=None, feats=None, **meta):
    """Of objects with random representations, one for each box."""
    batch = demo_batch(list(boxes))
    generator = torch.Generator().manual_seed(2)
    infos = []
    for index, (sample, own) in enumerate(
        zip(batch['data_samples'], boxes, strict=True)
    ):
        sample.set_metainfo({**META, **meta})
        if masks is not None:
            sample.gt_instances.masks = masks[index]
        infos.append(
            InstanceData(
                pos_inds=torch.arange(len(own)),
                pos_assigned_gt_inds=torch.arange(len(own)),
                reps=torch.randn(len(own), 6, generator=generator),
                bboxes=sample.gt_instances.bboxes,
            )
        )
    if feats is None:
        feats = make_feats(batch=len(boxes))
    losses = head.loss(feats, batch['data_samples'], infos)
    assert losses.keys() == {'loss_mask'}
    return losses['loss_mask']


def test_the_mean_is_over_the_objects_of_the_batch():
    head = mask_head()
    feats = make_feats(batch=2)
    parts = [
        mask_loss(head, [BOXES], feats=[x[:1] for x in feats]) * 5,
        mask_loss(head, [BOXES[:2]], feats=[x[1:] for x in feats]) * 3,
    ]
    # the same random numbers in both images
    found = mask_loss(head, [BOXES, []], feats=feats) * 5
    torch.testing.assert_close(found, parts[0])
    assert parts[1] > 0
    double = mask_head(loss_weight=2.0)
    torch.testing.assert_close(
        mask_loss(double, [BOXES], feats=[x[:1] for x in feats]),
        2 * parts[0] / 5,
    )


def test_padding_of_the_batch_is_not_trained():
    """An image alone, and the same one padded by zeros of a larger batch."""
    head = mask_head(num_convs=0, end_level=0)
    boxes = [BOXES[:2]]
    alone = mask_loss(head, boxes)
    feats = make_feats(batch=1)
    wider = [torch.nn.functional.pad(feats[0], (0, 4, 0, 8)), *feats[1:]]
    padded = mask_loss(head, boxes, feats=wider, batch_input_shape=(192, 192))
    torch.testing.assert_close(alone, padded)


def test_options_of_the_loss():
    plain = mask_loss(mask_head())
    for changes in (
        dict(ohem=False),
        dict(neg_pos_ratio=0.1),
        dict(crop_padding=1.0),
        dict(crop_padding=0.5),
    ):
        assert mask_loss(mask_head(**changes)) != plain


def test_small_and_many_masks():
    side = 12  # of an area of 144
    boxes = [[4 + 14 * i, 4, 4 + 14 * i + side, 4 + side] for i in range(10)]
    tiny = [[10, 60, 20, 70]]  # 100 pixels, which is not more than 100
    head = mask_head(max_masks_to_train=4)

    def chosen(own):
        sample = demo_batch([own])['data_samples'][0]
        infos = InstanceData(
            pos_assigned_gt_inds=torch.arange(len(own)),
            reps=torch.zeros(len(own), 6),
            bboxes=sample.gt_instances.bboxes,
        )
        return head._choose(infos, sample.gt_instances)

    assert chosen([*tiny, *boxes[:2]]).pos_assigned_gt_inds.tolist() == [1, 2]
    torch.manual_seed(0)
    picks = [
        tuple(chosen(boxes).pos_assigned_gt_inds.tolist()) for _ in range(5)
    ]
    assert len(set(picks)) > 1
    assert all(len(set(pick)) == 4 for pick in picks)
    head.min_mask_area = 99
    assert len(chosen(tiny)) == 1
    assert mask_loss(mask_head(min_mask_area=1e6)) == 0


def polygons(boxes):
    """Masks that fill the boxes."""
    return PolygonMasks(
        [
            [np.array([x1, y1, x2, y1, x2, y2, x1, y2], dtype=np.float64)]
            for x1, y1, x2, y2 in boxes
        ],
        128,
        160,
    )


def test_polygons():
    boxes = BOXES[:2]
    found = mask_loss(mask_head(), [boxes], [polygons(boxes)])
    bitmaps = mask_loss(mask_head(), [boxes])
    torch.testing.assert_close(found, bitmaps, rtol=0.1, atol=0)
    assert found > 0


def test_masks_of_nothing():
    """A polygon outside of the image, or an empty RLE."""
    empty = box_masks([[0, 0, 0, 0]] * 4, (128, 160))
    head = mask_head()
    loss = mask_loss(head, masks=[empty])
    assert loss == 0
    loss.backward()
    assert all(p.grad is not None for p in head.parameters())
    assert mask_loss(mask_head(min_mask_area=-1), masks=[empty]) == 0


def test_boxes_outside_of_the_image():
    boxes = [[-50, -40, -10, -5], [150, 120, 400, 300]]
    masks = box_masks([[0, 0, 20, 20], [140, 110, 160, 128]], (128, 160))
    loss = mask_loss(mask_head(), [boxes], [masks])
    assert torch.isfinite(loss)


def test_a_dataset_without_masks():
    model = mini_model(CONFIG).train()
    batch = demo_batch([BOXES])
    batch['data_samples'][0].gt_instances.pop('masks')
    with pytest.raises(ValueError, match=r'got NoneType.*with_mask=True'):
        losses_of(model, batch)


def test_masks_are_cut_and_resized():
    """A smaller original image, and padding on two sides."""
    head = mask_head()
    metas = [
        dict(
            META, img_shape=(120, 150), ori_shape=(60, 75), scale_factor=(2, 2)
        )
    ]
    detected = InstanceData(
        bboxes=torch.tensor([[20.0, 20, 60, 80]]),
        scores=torch.ones(1),
        labels=torch.zeros(1, dtype=torch.long),
        reps=torch.randn(1, 6),
    )
    logits = torch.zeros(1, 32, 40, 2)
    logits[..., 1] = 5
    for rescale, shape in ((True, (60, 75)), (False, (120, 150))):
        (found,) = head.predict_by_feat(
            [logits], metas, [detected.clone()], rescale
        )
        assert 'reps' not in found
        assert found.masks.shape == (1, *shape)
        # all of the box, and a tenth on each side
        x1, y1, x2, y2 = (found.bboxes[0]).tolist()
        rows, columns = (found.masks[0].any(d).nonzero() for d in (1, 0))
        assert rows.min() == int(y1 - 0.1 * (y2 - y1 + 1))
        assert columns.max() == int(x2 + 0.1 * (x2 - x1 + 1)) - 1
        none = head.predict_by_feat(
            [logits[:0]], metas, [detected.clone()[:0]], rescale
        )
        assert none[0].masks.shape == (0, *shape)
    wide = mask_head(
        test_crop_padding=500, test_cfg=dict(mask_thr_binary=0.999)
    )
    (found,) = wide.predict_by_feat([logits], metas, [detected.clone()], False)
    assert not found.masks.any()
    logits[..., 1] = 9
    (found,) = wide.predict_by_feat([logits], metas, [detected], False)
    assert found.masks.all()


def test_batches_and_single_images_have_the_same_masks():
    model = mini_model(CONFIG).eval()
    model.bbox_head.test_cfg.score_thr = 0.0
    model.bbox_head.test_cfg.max_per_img = 8
    both = demo_batch([BOXES, BOXES])
    with torch.no_grad(), torch.backends.mkldnn.flags(enabled=False):
        data = model.data_preprocessor(both, False)
        joint = model(**data, mode='predict')
        for index, expected in enumerate(joint):
            one = {key: [value[index]] for key, value in both.items()}
            data = model.data_preprocessor(one, False)
            (single,) = model(**data, mode='predict')
            found, expected = single.pred_instances, expected.pred_instances
            assert len(found) == 8
            differ = (found.masks != expected.masks).float().mean()
            assert differ < 1e-3
