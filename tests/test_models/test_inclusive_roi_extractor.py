"""RoIs of Detectron under exclusive boxes."""

import torch
from mmdet.registry import MODELS
from mmengine.registry import init_default_scope

STRIDES = (4, 8, 16, 32)


def build():
    init_default_scope('mmdet')
    return MODELS.build(
        dict(
            type='InclusiveRoIExtractor',
            roi_layer=dict(
                type='RoIAlign',
                output_size=7,
                sampling_ratio=2,
                aligned=False,
            ),
            out_channels=2,
            featmap_strides=list(STRIDES),
        )
    )


def ramps():
    """Maps whose channels are the coordinates x and y of their cells."""
    found = []
    for stride in STRIDES:
        side = 512 // stride
        y, x = torch.meshgrid(*(2 * [torch.arange(side)]), indexing='ij')
        found.append(torch.stack((x, y))[None].float())
    return found


def test_samples_between_the_first_and_the_last_pixel():
    """Bilinear samples of a ramp, averaged, are the center of their bin."""
    # inclusive boxes of Detectron, and the level that their size gives:
    # 2 + floor(log2(sqrt((x2 - x1 + 1) (y2 - y1 + 1)) / 56))
    boxes = [
        ([40, 30, 90, 79], 0),
        ([100, 60, 210, 171], 0),  # 111 x 112
        ([100, 60, 211, 171], 1),  # 112 x 112: one pixel decides
        ([16, 20, 430, 380], 2),
    ]
    rois = torch.tensor([[0, *box] for box, _ in boxes]).float()
    exclusive = rois + torch.tensor([0, 0, 0, 1, 1])
    found = build()(ramps(), exclusive)
    for own, ((x1, y1, x2, y2), level) in zip(found, boxes, strict=True):
        stride = STRIDES[level]
        steps = (torch.arange(7) + 0.5) / 7
        x = (x1 + steps * (x2 - x1)) / stride
        y = (y1 + steps * (y2 - y1)) / stride
        torch.testing.assert_close(own[0], x.expand(7, 7))
        torch.testing.assert_close(own[1], y[:, None].expand(7, 7))


def test_enlarges_by_pixels():
    """40 x 60 pixels about (50, 60) become 52 x 78, on their own level."""
    rois = torch.tensor([[0, 30.0, 30, 70, 90]])
    enlarged = torch.tensor([[0, 24.0, 21, 76, 99]])
    found = build()(ramps(), rois, roi_scale_factor=1.3)
    torch.testing.assert_close(found, build()(ramps(), enlarged))


def test_no_roi():
    assert build()(ramps(), torch.zeros(0, 5)).shape == (0, 2, 7, 7)
