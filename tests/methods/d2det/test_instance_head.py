"""Instance branch of D2Det."""

import numpy as np
import pytest
import torch
from helpers import BOXES, demo_batch, losses_of, mini_config, total_loss
from mmdet.registry import MODELS
from mmdet.structures.mask import BitmapMasks, PolygonMasks
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from torch import nn

from mmdet_assigners.methods.d2det.instance_head import (
    D2DetInstanceHead,
    mask_targets,
)
from mmdet_assigners.utils import config_path

CONFIG = config_path('d2det-instance_r101_fpn_2x_coco')


def noise(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator)


def branch(**options):
    torch.manual_seed(0)
    options = dict(conv_out_channels=8, num_groups=2) | options
    head = D2DetInstanceHead(4, 3, fc_out_channels=16, **options)
    head.init_weights()
    return head


@pytest.mark.parametrize('count', [0, 5])
def test_losses(count):
    head = branch()
    labels = torch.arange(count) % 3
    masks, ious = head(noise(count, 4, 7, 7), labels)
    assert masks.shape == (count, 3, 28, 28) and ious.shape == (count, 3)
    targets = (noise(count, 28, 28) > 0).float()
    losses = head.loss(masks, ious, labels, targets, torch.ones(count))
    assert losses.keys() == {'loss_mask', 'loss_mask_iou'}
    total = total_loss(losses)
    assert torch.isfinite(total) and (total > 0) == (count > 0)
    total.backward()
    assert all(p.grad is not None for p in head.parameters())


def test_weights_of_the_iou():
    """Logits of 0.4 are no mask at 0.5, and all of it at 0.3."""
    labels = torch.tensor([1])
    masks, targets = torch.full((1, 3, 28, 28), 0.4), torch.ones(1, 28, 28)
    ious = torch.tensor([[0.0, 0.25, 0]])
    for options, expected in (
        (dict(), 0.0),  # a target of 0 does not count
        (dict(mask_logit_thr=0.3), 0.5 * 0.75**2),
        (dict(mask_logit_thr=0.3, iou_loss_weight=2.0), 2 * 0.75**2),
    ):
        head = branch(**options)
        losses = head.loss(masks, ious, labels, targets, torch.ones(1))
        assert losses['loss_mask_iou'].item() == pytest.approx(expected)
    head = branch(iou_score_weight=0.5)
    found = InstanceData(
        bboxes=torch.tensor([[2.0, 2, 30, 30]]),
        scores=torch.tensor([0.6]),
        labels=labels,
    )
    meta = dict(ori_shape=(40, 40), scale_factor=(1.0, 1.0))
    cfg = ConfigDict(mask_thr_binary=0.5)
    (found,) = head.predict_by_feat(
        [masks], [found], [meta], cfg, mask_ious=[ious]
    )
    assert found.mask_scores.item() == pytest.approx(0.6 + 0.5 * 0.25)


def test_iou_does_not_train_masks():
    head = branch()
    _, ious = head(noise(2, 4, 7, 7), torch.tensor([0, 2]))
    ious.sum().backward()
    assert head.conv_logits.weight.grad is None
    assert head.fcs[0].weight.grad is not None


def square(image=(40, 40), box=(10, 10, 30, 30)):
    x1, y1, x2, y2 = box
    mask = np.zeros((1, *image), np.uint8)
    mask[:, y1:y2, x1:x2] = 1
    corners = np.array([x1, y1, x2, y1, x2, y2, x1, y2], float)
    return BitmapMasks(mask, *image), PolygonMasks([[corners]], *image)


@pytest.mark.parametrize('form', [0, 1], ids=['bitmap', 'polygon'])
def test_mask_targets(form):
    masks = square()[form]
    rois = torch.tensor(
        [
            [1.0, 10, 10, 29.9, 29.9],  # the object
            [1, 0, 0, 39.9, 39.9],  # twice its sides
            [1, 10, 10, 19.9, 29.9],  # its left half
            [1, 32, 32, 39, 39],  # beside it
        ]
    )
    gt_inds = torch.zeros(4, dtype=torch.long)
    none = BitmapMasks([], 40, 40)
    targets, ratios = mask_targets(rois, gt_inds, [none, masks], 28)
    assert targets.shape == (4, 28, 28)
    shares = targets.mean((1, 2))
    torch.testing.assert_close(
        shares, torch.tensor([1, 0.25, 1, 0]), atol=0.03, rtol=0
    )
    torch.testing.assert_close(
        ratios, torch.tensor([1, 1, 0.5, 0]), atol=0.05, rtol=0
    )


def test_shares_of_rois_outside_of_the_image():
    masks, _ = square()
    rois = torch.tensor([[0.0, -20, -20, 19.9, 29.9], [0, -90, -90, -3, -3]])
    index = torch.zeros(2, dtype=torch.long)
    _, ratios = mask_targets(rois, index, [masks], 28)
    torch.testing.assert_close(
        ratios, torch.tensor([0.5, 0]), atol=0.05, rtol=0
    )


def test_targets_of_nothing():
    empty = BitmapMasks(np.zeros((1, 40, 40), np.uint8), 40, 40)
    roi = torch.tensor([[0.0, 10, 10, 30, 30]])
    index = torch.zeros(1, dtype=torch.long)
    targets, ratios = mask_targets(roi, index, [empty], 28)
    assert targets.sum() == 0 and ratios.tolist() == [0]
    targets, ratios = mask_targets(roi[:0], index[:0], [empty], 28)
    assert targets.shape == (0, 28, 28) and ratios.shape == (0,)


def model_of():
    torch.manual_seed(0)
    model = MODELS.build(mini_config(CONFIG).model)
    model.init_weights()
    return model


@pytest.fixture(scope='module')
def model():
    return model_of()


def test_masks_select_the_cells(model):
    """A mask that fills the left half of its box has cells there alone."""
    model.train()
    head = model.roi_head
    data = demo_batch([BOXES[1:2]])
    (gts,) = (sample.gt_instances for sample in data['data_samples'])
    x1, _, x2, _ = BOXES[1]
    gts.masks.masks[:, :, (x1 + x2) // 2 :] = 0
    head.jitter = 0.0
    seen = {}
    loss = head.d2det_head.loss
    head.d2det_head.loss = lambda *args: (
        seen.update(overlap=args[-1], boxes=args[2]) or loss(*args)
    )
    losses_of(model, data)
    del head.d2det_head.loss
    exact = (seen['boxes'] - torch.tensor(BOXES[1])).abs().sum(1) == 0
    assert exact.any()
    overlap = seen['overlap'][exact][0, 0]
    assert overlap[:, :3].all() and not overlap[:, 4:].any()


def test_losses_of_polygons(model):
    """Few of the positives are trained on, each with its own mask."""
    model.train()
    data = demo_batch([BOXES[:2], BOXES[2:3]])
    for sample in data['data_samples']:
        gts = sample.gt_instances
        boxes = gts.bboxes.double().numpy()
        corners = boxes[:, [0, 1, 2, 1, 2, 3, 0, 3]]
        gts.masks = PolygonMasks([[row] for row in corners], 128, 160)
    head = model.roi_head
    head.max_num_reg, limit = 2, head.max_num_reg
    losses = losses_of(model, data)
    head.max_num_reg = limit
    assert torch.isfinite(total_loss(losses))
    assert losses['loss_mask'] > 0


def features():
    return tuple(
        noise(1, 64, 128 // s, 160 // s, seed=s) for s in (4, 8, 16, 32)
    )


def predict(model, boxes, rescale, iou=0.5):
    """Detections of an image of 128x160 whose masks fill their boxes."""
    head = model.eval().roi_head
    branch = head.mask_head
    for layer, value in (
        (branch.conv_logits, 1.0),
        (branch.fc_iou, iou),
        (head.d2det_head.conv_reg, 0.5),
        (head.d2det_head.conv_mask, 1.0),
    ):
        nn.init.zeros_(layer.weight)
        nn.init.constant_(layer.bias, value)
    head.test_cfg = ConfigDict(head.test_cfg, score_thr=0.0)
    samples = demo_batch([[]])['data_samples']
    for sample in samples:
        sample.set_metainfo(dict(scale_factor=(2.0, 2.0), ori_shape=(64, 80)))
    proposals = [InstanceData(bboxes=torch.tensor(boxes).view(-1, 4))]
    with torch.no_grad():
        (found,) = head.predict(features(), proposals, samples, rescale)
    return found


def test_predicted_masks():
    model = model_of()
    found = predict(model, [20.0, 30, 90, 100], rescale=True)
    assert len(found) > 0
    assert found.masks.shape == (len(found), 64, 80)
    expected = torch.tensor([10.0, 15, 45, 50])
    torch.testing.assert_close(
        found.bboxes, expected.expand_as(found.bboxes), rtol=1e-4, atol=1e-3
    )
    # the refined box, on the scale of the original image
    rows, columns = found.masks[0].nonzero().unbind(1)
    assert (rows.min(), rows.max()) == (15, 49)
    assert (columns.min(), columns.max()) == (10, 44)
    torch.testing.assert_close(found.mask_scores, found.scores + 0.3 * 0.5)
    large = predict(model, [20.0, 30, 90, 100], rescale=False)
    assert large.masks.shape == (len(large), 128, 160)


def test_no_detection():
    found = predict(model_of(), [], rescale=True)
    assert found.masks.shape == (0, 64, 80)
    assert found.mask_scores.shape == (0,)


def test_tensor_mode(model):
    proposals = [InstanceData(bboxes=torch.tensor(BOXES).float())]
    *_, masks = model.eval().roi_head.forward(features(), proposals)
    assert masks.shape == (len(BOXES), 2, 28, 28)


def test_refuses_an_extractor_of_its_own():
    cfg = mini_config(CONFIG).model.roi_head
    cfg.mask_roi_extractor = dict(type='SingleRoIExtractor')
    with pytest.raises(ValueError, match='mask_roi_extractor of D2Det'):
        MODELS.build(cfg)
