"""Converter of CornerNet, on random weights of the official shapes."""

import math

import numpy as np
import pytest
from methods.centernet.test_convert import conv, norm, official_hourglass
from official_keypoints import (
    NMS_ERROR,
    SCALES,
    Canvas,
    Maps,
    assert_input,
    assert_same,
    best_of,
    best_peaks,
    build_head,
    detections,
    inclusive_iou,
    of_classes,
    official_file,
    sigmoid,
    soft_nms,
)
from official_weights import assert_loads
from torch import nn

from mmdet_assigners.methods.cornernet.convert import convert

CONFIG = 'cornernet-official_hourglass104_10xb5-crop511-210e_coco'


def official():
    """Names of princeton-vl/CornerNet, spelled out."""
    heads = ('hm.', 'wh.', 'reg.')
    state = {
        name: value
        for name, value in official_hourglass().items()
        if not name.startswith(heads)
    }
    for s in range(2):
        for corner in ('tl', 'br'):
            pool = f'{corner}_cnvs.{s}'
            for name, out, inputs, size in (
                ('p1_conv1', 128, 256, 3),
                ('p2_conv1', 128, 256, 3),
                ('conv2', 256, 256, 3),
            ):
                conv(state, f'{pool}.{name}.conv', out, inputs, size)
                norm(state, f'{pool}.{name}.bn', out)
            conv(state, f'{pool}.p_conv1', 256, 128, 3)
            norm(state, f'{pool}.p_bn1', 256)
            conv(state, f'{pool}.conv1', 256, 256, 1)
            norm(state, f'{pool}.bn1', 256)
            for name, width in (('heats', 80), ('tags', 1), ('regrs', 2)):
                branch = f'{corner}_{name}.{s}'
                conv(state, f'{branch}.0.conv', 256, 256, 3, bias=True)
                conv(state, f'{branch}.1', width, 256, 1, bias=True)
    return state


def test_hourglass104():
    same = {
        'backbone.stem.1.0.downsample.1.bias': 'pre.1.skip.1.bias',
        'backbone.hourglass_modules.1.low2.low2.low3.1.bn2.weight': (
            'kps.1.low2.low2.low3.1.bn2.weight'
        ),
        # pooling towards the top, then towards the left
        'bbox_head.tl_pool.0.direction1_conv.bn.bias': (
            'tl_cnvs.0.p1_conv1.bn.bias'
        ),
        'bbox_head.br_pool.1.direction2_conv.bn.running_var': (
            'br_cnvs.1.p2_conv1.bn.running_var'
        ),
        'bbox_head.tl_pool.1.aftpool_conv.bn.weight': 'tl_cnvs.1.p_bn1.weight',
        'bbox_head.br_pool.0.conv1.bn.bias': 'br_cnvs.0.bn1.bias',
        'bbox_head.tl_pool.0.conv2.bn.bias': 'tl_cnvs.0.conv2.bn.bias',
        'bbox_head.tl_heat.0.0.conv.bias': 'tl_heats.0.0.conv.bias',
        'bbox_head.br_heat.1.1.conv.bias': 'br_heats.1.1.bias',
        'bbox_head.tl_emb.1.1.conv.bias': 'tl_tags.1.1.bias',
        'bbox_head.br_off.0.1.conv.bias': 'br_regrs.0.1.bias',
    }
    assert_loads('cornernet', official(), same, CONFIG)


def test_weights_of_another_detector():
    with pytest.raises(ValueError, match=r'hm\.0\.0\.conv'):
        convert(official_hourglass())


def branches(head):
    """Replace the branches of the last stack; returns the maps of each.

    Returns:
        list: Logits, embeddings and offsets of top-left corners, then those
        of bottom-right corners.
    """
    found = []
    for i, corner in enumerate(('tl', 'br')):
        getattr(head, f'{corner}_pool')[-1] = nn.Identity()
        for name, maps in (
            ('heat', Maps(80, 10 + 3 * i)),
            ('emb', Maps(1, 3 * i + 11, -1.0, 1.0)),
            ('off', Maps(2, 3 * i + 12, -0.5, 1.5)),
        ):
            getattr(head, f'{corner}_{name}')[-1] = maps
            found.append(maps)
    return found


def corners(heat, embeddings, offsets):
    """100 corners: score, class, embedding, x and y in cells."""
    return [
        (
            score,
            label,
            float(embeddings[0, y, x]),
            x + float(offsets[0, y, x]),
            y + float(offsets[1, y, x]),
        )
        for score, label, y, x in best_peaks(sigmoid(heat), 100)
    ]


def pairs(canvas, maps, flip):
    """The test of CornerNet at one scale, before the soft-NMS.

    Rows are x1, y1, x2, y2, score, label and the scores of both corners.
    Boxes of a mirrored image are brought back on the map. Ours are without
    those of no area in the image.
    """
    width = canvas.cells[0]
    found = []
    for image in range(2 if flip else 1):
        views = [part[image] for part in maps]
        first, second = corners(*views[:3]), corners(*views[3:])
        rows = []
        for score, label, emb, x1, y1 in first:
            for score2, label2, emb2, x2, y2 in second:
                if label == label2 and abs(emb - emb2) <= 0.5:
                    if x2 >= x1 and y2 >= y1:
                        both = (score + score2) / 2, label, score, score2
                        rows.append((x1, y1, x2, y2, *both))
        rows = sorted(rows, key=lambda row: -row[4])[:1000]
        for x1, y1, x2, y2, *rest in rows:
            if image:
                x1, x2 = width - x2, width - x1
            box = *canvas.to_image(x1, y1), *canvas.to_image(x2, y2)
            if box[2] > box[0] and box[3] > box[1]:
                found.append((*box, *rest))
    return found


@pytest.mark.parametrize('tta', [False, True])
def test_boxes_of_the_official_result_file(tta):
    """The official test always has the mirror image."""
    cfg, head = build_head(CONFIG)
    parts = branches(head)
    canvas = Canvas(pad=127, odd=True)
    assert_input(cfg, canvas)
    maps = [part.of_call(0, *canvas.cells) for part in parts]
    found = of_classes(pairs(canvas, maps, tta), soft_nms)
    theirs = official_file(best_of(found))
    assert_same(detections(cfg, head, tta), theirs, scores=NMS_ERROR)


def soft_nms_merge(found, sigma=0.5, floor=0.001, exponent=10):
    """Soft-NMS that averages a box with those that it suppresses.

    Unlike the official code, where they stay in their place, the scores of
    corners are those of their own box.
    """
    rest, kept = list(found), []
    while rest:
        best = max(rest, key=lambda row: row[4])
        rest.remove(best)
        shares = [(1.0, best)]
        lower = []
        for row in rest:
            iou = inclusive_iou(best, row)
            factor = math.exp(-(iou**2) / sigma)
            shares.append(((1 - factor) ** exponent, row))
            if iou == 0 or row[4] * factor >= floor:
                lower.append((*row[:4], row[4] * factor, *row[5:]))
        rest = lower
        box = []
        for side in range(4):
            corner = 6 + side // 2
            total = sum(share * row[corner] for share, row in shares)
            box.append(
                sum(share * row[corner] * row[side] for share, row in shares)
                / total
            )
        kept.append((*box, *best[4:]))
    return kept


def test_boxes_of_several_scales():
    cfg, head = build_head(CONFIG.replace('official', 'ms-test'))
    parts = branches(head)
    found = []
    for call, scale in enumerate(SCALES):
        canvas = Canvas(scale, 127, odd=True)
        maps = [part.of_call(call, *canvas.cells) for part in parts]
        found += pairs(canvas, maps, flip=True)
    theirs = best_of(of_classes(found, soft_nms_merge))
    plain = best_of(of_classes(found, soft_nms))
    moved = np.subtract([r[:4] for r in theirs], [r[:4] for r in plain])
    assert (abs(moved).max(1) > 0.1).sum() > 10
    ours = detections(cfg, head, tta=True)
    assert_same(ours, official_file(theirs), scores=NMS_ERROR)
