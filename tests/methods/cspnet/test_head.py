"""The stretched coder and the IoU loss of YOLO's boxes."""

import pytest
import torch
from helpers import BOXES, demo_batch, losses_of, mini_model
from mmdet.models.task_modules.coders import YOLOBBoxCoder
from mmdet.registry import MODELS, TASK_UTILS

from mmdet_assigners.utils import config_path

CONFIG = config_path('cspnet-panet-spp-giou_yolov3_x50-32x4d_ms-512-273e_coco')
PRIORS = torch.tensor([[0.0, 0, 8, 8], [8, 16, 56, 32], [0, 0, 64, 64]])
STRIDES = torch.tensor([8, 16, 32])


def coder(scales=(1.2, 1.1, 1.05), strides=(8, 16, 32)):
    cfg = dict(type='ScaledYOLOBBoxCoder', scales=scales, strides=strides)
    return TASK_UTILS.build(cfg)


def test_scales_of_each_level():
    """Sigmoids of 1 reach scale / 2 strides from the center."""
    ones = torch.tensor([[1.0, 1.0, 0.0, 0.0]]).expand(3, 4)
    boxes = coder().decode(PRIORS, ones, STRIDES[:, None])
    moved = (boxes - PRIORS)[:, 0]
    torch.testing.assert_close(moved, torch.tensor([4.8, 8.8, 16.8]))


def test_round_trip():
    gts = PRIORS + torch.tensor([[-3.0, 1, 2, 2], [1, -2, 3, 4], [5, 5, 9, 3]])
    encoded = coder().encode(PRIORS, gts, STRIDES)
    found = coder().decode(PRIORS, encoded, STRIDES[:, None])
    torch.testing.assert_close(found, gts)


def test_scale_of_one_is_mmdets_coder():
    plain, ours = YOLOBBoxCoder(), coder((1, 1, 1))
    pred = torch.rand(3, 4)
    for stride in (STRIDES[:, None], 16):
        assert torch.allclose(
            ours.decode(PRIORS, pred, stride),
            plain.decode(PRIORS, pred, stride),
        )


@pytest.mark.parametrize('scales', [(1.2, 1.1), (1.2, 0.9, 1.1)])
def test_bad_scales(scales):
    with pytest.raises(ValueError, match='scales must be at least 1, one for'):
        coder(scales)


def test_box_loss_is_that_of_the_positives():
    model = mini_model(CONFIG)
    head = model.bbox_head
    seen = {}
    head.loss_bbox.register_forward_hook(
        lambda m, args, kwargs, out: seen.update(
            pred=args[0], gt=args[1], weight=kwargs['weight'], loss=out
        ),
        with_kwargs=True,
    )
    losses = losses_of(model.train(), demo_batch([BOXES, BOXES[:1]]))
    assert {n for n in losses if 'loss' in n} == {
        'loss_bbox',
        'loss_cls',
        'loss_conf',
    }
    positive = seen['weight'] > 0
    assert positive.sum() >= 3
    # centers are clamped to the cell
    known = torch.tensor(BOXES)
    sizes = known[:, 2:] - known[:, :2]
    for box in seen['gt'][positive]:
        assert (box[2:] - box[:2] - sizes).abs().amax(1).min() < 1e-2
    single = MODELS.build(
        dict(type='GIoULoss', loss_weight=0.5, reduction='sum')
    )
    expected = single(seen['pred'][positive], seen['gt'][positive])
    torch.testing.assert_close(seen['loss'], expected)


@pytest.mark.parametrize('name', ['loss_xy', 'loss_wh'])
def test_refuses_the_losses_of_yolov3(name):
    with pytest.raises(TypeError, match=f'loss_bbox instead of {name}'):
        MODELS.build(
            dict(
                type='IoUYOLOV3Head',
                num_classes=2,
                in_channels=[8],
                **{name: dict(type='MSELoss')},
            )
        )
