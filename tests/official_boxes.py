"""Boxes as official codes write them to their result files.

Formulas are written out here in double precision, one box at a time, in the
coordinates of the official code; nothing is imported from the package but what
runs a config's head. Result files hold x, y, width and height in pixels.

Images are not rescaled: codes that count inclusive pixels add the last one
after the boxes are scaled back, so the sides of others would differ by
1 - 1 / scale pixels. Boxes lie at least partly in the image: one beyond it
becomes a strip of one pixel there, and is dropped here.
"""

import math

import torch
from helpers import read_config
from mmdet.evaluation import CocoMetric
from mmdet.registry import MODELS
from mmengine.config import ConfigDict

from mmdet_assigners.utils import resolve_config

HEIGHT, WIDTH = 250, 310
STRIDES = (8, 16, 32, 64, 128)
META = dict(
    img_shape=(HEIGHT, WIDTH),
    ori_shape=(HEIGHT, WIDTH),
    pad_shape=(256, 320),
    batch_input_shape=(256, 320),
    scale_factor=(1.0, 1.0),
)
KEEP_ALL = ConfigDict(
    nms_pre=100000,
    score_thr=0.05,
    conf_thr=-1,
    nms=dict(type='nms', iou_threshold=1.0),
    max_per_img=1000,
)


def cells(anchors=1, strides=STRIDES, margin=0):
    """Places (level, y, x, anchor): corners of each map, and its middle.

    Args:
        anchors: Per location.
        strides: Of the levels.
        margin: Cells that the maps lack on the right and at the bottom.
    """
    found = []
    for level, stride in enumerate(strides):
        height = math.ceil(256 / stride) - margin
        width = math.ceil(320 / stride) - margin
        places = {
            (0, 0),
            (height - 1, width - 1),
            (height // 2, width // 2),
            (height // 3, max(0, width - 2)),
            (max(0, height - 2), width // 3),
        }
        for index, (y, x) in enumerate(sorted(places)):
            for anchor in range(index % 2, anchors, 2 if anchors > 1 else 1):
                found.append((level, y, x, anchor))
    return found


def maps(places, values, anchors=1, fill=0.0, strides=STRIDES, margin=0):
    """Outputs of a head: values (K, c) at K places, another one elsewhere.

    Returns:
        list: L maps (1, anchors * c, H_l, W_l).
    """
    count = values.shape[1]
    found = [
        torch.full(
            (
                1,
                anchors * count,
                math.ceil(256 / stride) - margin,
                math.ceil(320 / stride) - margin,
            ),
            fill,
        )
        for stride in strides
    ]
    for (level, y, x, anchor), row in zip(places, values, strict=True):
        own = slice(anchor * count, (anchor + 1) * count)
        found[level][0, own, y, x] = row.float()
    return found


def logits(places, classes=80):
    """Class logits (K, C): the k-th place has the k-th highest score."""
    rows = torch.full((len(places), classes), -20.0)
    index = torch.arange(len(places))
    rows[index, index % classes] = torch.linspace(4, 0, len(places))
    return rows


def class_maps(places, classes=80, **options):
    return maps(places, logits(places, classes), fill=-20.0, **options)


def deltas(places, spread=(0.5, 0.5, 0.5, 0.5), seed=0):
    """Random numbers (K, c) of these standard deviations."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(len(places), len(spread), generator=generator)
    return noise.double() * torch.tensor(spread, dtype=torch.float64)


def build_head(config, part='bbox_head'):
    cfg = read_config(resolve_config(config)).model
    options = {}
    if part == 'rpn_head':  # as the detector does
        options['num_classes'] = 1
    return MODELS.build({**cfg[part], **options}).eval()


def result_file(config, *outputs, **changes):
    """What we write to the result file, best score first.

    Args:
        config: Name of the config.
        *outputs: What the head's ``forward`` returns.
        **changes: Of the post-processing, which otherwise keeps all boxes.

    Returns:
        list: x, y, width and height.
    """
    cfg = read_config(resolve_config(config)).model
    test_cfg = ConfigDict({**cfg.test_cfg, **KEEP_ALL, **changes})
    head = build_head(config)
    with torch.no_grad():
        (found,) = head.predict_by_feat(
            *outputs, batch_img_metas=[META], cfg=test_cfg, rescale=True
        )
    return as_written(found.bboxes)


def as_written(boxes):
    metric = CocoMetric()
    return [metric.xyxy2xywh(box) for box in boxes.numpy()]


def assert_same(ours, theirs):
    """Our and the official result file agree to a thousandth of a pixel."""
    assert len(ours) == len(theirs) > 0
    ours, theirs = (
        torch.tensor(rows, dtype=torch.float64) for rows in (ours, theirs)
    )
    error = (ours - theirs).abs().amax(1)
    assert error.max() < 1e-3, (error.argmax(), error.max())
    # some boxes are clipped at each border, some not at all
    x, y, width, height = theirs.unbind(1)
    gaps = x, y, x + width - WIDTH, y + height - HEIGHT
    for clipped in (gap.abs() < 1e-9 for gap in gaps):
        assert 0 < clipped.sum() < len(theirs)


def official_file(places, values, decode, write):
    """The official result file, without boxes beyond the image.

    Args:
        places: K places of :func:`cells`.
        values: (K, c) outputs there.
        decode: Place and outputs -> x1, y1, x2, y2 of the official code.
        write: These -> x, y, width and height.

    Returns:
        tuple: The places and outputs of the other boxes, and their rows.
    """
    boxes = [decode(*pair) for pair in zip(places, values, strict=True)]
    kept = [
        index
        for index, (x1, y1, x2, y2) in enumerate(boxes)
        if x1 < WIDTH - 1 and y1 < HEIGHT - 1 and x2 > 0 and y2 > 0
    ]
    rows = [write(*boxes[index]) for index in kept]
    return [places[index] for index in kept], values[kept], rows


def write_inclusive(x1, y1, x2, y2):
    """Clip to the last pixel; the file counts the pixels of a side."""
    x1, x2 = (min(max(x, 0.0), WIDTH - 1.0) for x in (x1, x2))
    y1, y2 = (min(max(y, 0.0), HEIGHT - 1.0) for y in (y1, y2))
    return [x1, y1, x2 - x1 + 1, y2 - y1 + 1]


def write_exclusive(x1, y1, x2, y2):
    x1, x2 = (min(max(x, 0.0), float(WIDTH)) for x in (x1, x2))
    y1, y2 = (min(max(y, 0.0), float(HEIGHT)) for y in (y1, y2))
    return [x1, y1, x2 - x1, y2 - y1]


def detectron_anchor(stride, size, ratio, start=0.0):
    """An anchor of the first cell, inclusive (``generate_anchors``).

    Args:
        stride: Of the level.
        size: Side of the square anchor in pixels.
        ratio: Height over width.
        start: Of the reference window [start, start + stride - 1].
    """
    center = start + 0.5 * (stride - 1)
    width = round(math.sqrt(stride * stride / ratio))
    height = round(width * ratio)
    width, height = width * size / stride, height * size / stride
    return [
        center - 0.5 * (width - 1),
        center - 0.5 * (height - 1),
        center + 0.5 * (width - 1),
        center + 0.5 * (height - 1),
    ]


def detectron_retina_anchor(level, y, x, index):
    """One of nine anchors: three scales inside each of three ratios."""
    stride = STRIDES[level]
    ratio, scale = divmod(index, 3)
    size = 4 * stride * 2 ** (scale / 3)
    box = detectron_anchor(stride, size, (0.5, 1.0, 2.0)[ratio])
    shift = (x * stride, y * stride) * 2
    return [side + move for side, move in zip(box, shift, strict=True)]


def mmdet_v1_anchor(level, y, x, index):
    """One of nine of RetinaNet in mmdet 1.x: inclusive, corners rounded."""
    stride = STRIDES[level]
    ratio, scale = divmod(index, 3)
    ratio = (0.5, 1.0, 2.0)[ratio]
    side = 4 * stride * 2 ** (scale / 3)
    center = 0.5 * (stride - 1)
    half_w = 0.5 * (side / math.sqrt(ratio) - 1)
    half_h = 0.5 * (side * math.sqrt(ratio) - 1)
    box = (center - half_w, center - half_h, center + half_w, center + half_h)
    shift = (x * stride, y * stride) * 2
    return [round(side) + at for side, at in zip(box, shift, strict=True)]


def detectron_decode(anchor, delta, weights=(10.0, 10.0, 5.0, 5.0)):
    """``BoxCoder.decode`` of maskrcnn-benchmark: inclusive boxes."""
    width = anchor[2] - anchor[0] + 1
    height = anchor[3] - anchor[1] + 1
    center_x = anchor[0] + 0.5 * width
    center_y = anchor[1] + 0.5 * height
    dx, dy, dw, dh = (
        float(d) / w for d, w in zip(delta, weights, strict=True)
    )
    limit = math.log(1000.0 / 16)
    center_x, center_y = dx * width + center_x, dy * height + center_y
    width = math.exp(min(dw, limit)) * width
    height = math.exp(min(dh, limit)) * height
    return [
        center_x - 0.5 * width,
        center_y - 0.5 * height,
        center_x + 0.5 * width - 1,
        center_y + 0.5 * height - 1,
    ]


def assert_retinanet_of_maskrcnn_benchmark(config):
    """A released config writes what RetinaNet of that code writes."""
    places = cells(9)
    values = deltas(places, (3.0, 3.0, 3.0, 3.0))
    values[::7, 2:] *= 8  # sides are bounded above, not below
    places, values, theirs = official_file(
        places,
        values,
        lambda place, delta: detectron_decode(
            detectron_retina_anchor(*place), delta
        ),
        write_inclusive,
    )
    ours = result_file(
        config,
        class_maps(places, anchors=9),
        maps(places, values, anchors=9),
    )
    assert_same(ours, theirs)


RPN_STRIDES = (4, 8, 16, 32, 64)


def official_proposals(spread, decode):
    """An RPN with three anchors of 8 strides, as :func:`official_file`.

    Args:
        spread: Standard deviations of the outputs.
        decode: Inclusive anchor and outputs -> inclusive box.
    """

    def decode_place(place, delta):
        level, y, x, ratio = place
        stride = RPN_STRIDES[level]
        anchor = detectron_anchor(stride, 8 * stride, (0.5, 1.0, 2.0)[ratio])
        shift = (x * stride, y * stride) * 2
        moved = [side + at for side, at in zip(anchor, shift, strict=True)]
        return decode(moved, delta)

    places = cells(3, RPN_STRIDES)
    return official_file(
        places, deltas(places, spread), decode_place, write_inclusive
    )


def rpn_boxes(config, places, values):
    """The proposals of a config, best first, as in a result file."""
    head = build_head(config, 'rpn_head')
    options = dict(anchors=3, strides=RPN_STRIDES)
    scores = torch.linspace(4, 0, len(places))[:, None]
    with torch.no_grad():
        (found,) = head.predict_by_feat(
            maps(places, scores, fill=-20.0, **options),
            maps(places, values, **options),
            batch_img_metas=[META],
            cfg=ConfigDict(KEEP_ALL, nms_pre=1000, min_bbox_size=-1),
        )
    return as_written(found.bboxes[: len(places)])


def official_second_stage(spread, decode, count=6, classes=80):
    """An R-CNN head, before scores and NMS.

    Args:
        spread: Standard deviations of the outputs.
        decode: Inclusive RoI and outputs -> inclusive box.
        count: Number N of RoIs.
        classes: Number C of classes.

    Returns:
        tuple: Our RoIs (N, 5), outputs (N, 4 C), numbers of the boxes of
        (N, C) that are not beyond the image, and their rows.
    """
    generator = torch.Generator().manual_seed(2)
    room = torch.tensor([WIDTH - 100.0, HEIGHT - 100.0])
    start = torch.rand(count, 2, generator=generator) * room
    sides = 20 + torch.rand(count, 2, generator=generator) * 79
    inclusive = torch.cat((start, start + sides - 1), 1)
    rois = torch.zeros(count, 5)
    rois[:, 1:] = inclusive + torch.tensor([0, 0, 1, 1])
    places = range(count * classes)
    values = deltas(places, spread)
    kept, _, rows = official_file(
        places,
        values,
        lambda place, row: decode(inclusive[place // classes].tolist(), row),
        write_inclusive,
    )
    return rois, values.view(count, -1).float(), kept, rows
