"""Converter of ExtremeNet, on random weights of the official shapes."""

import numpy as np
import pytest
from methods.centernet.test_convert import (
    conv,
    official_dla,
    official_hourglass,
)
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
    of_classes,
    official_file,
    sigmoid,
    soft_nms,
)
from official_weights import assert_loads

from mmdet_assigners.conversion import load_converter

DLA = 'extremenet_dla34_crop512-140e_coco'
HOURGLASS = 'extremenet_hourglass104_crop511-50e_coco'
BRANCHES = [(f'{p}_heats', 80) for p in ('t', 'l', 'b', 'r', 'ct')]
BRANCHES += [(f'{p}_regrs', 2) for p in 'tlbr']
EXDET = [(f'hm_{p}', 80) for p in 'tlbrc'] + [(f'reg_{p}', 2) for p in 'tlbr']


def without_heads(state):
    heads = ('hm.', 'wh.', 'reg.')
    return {n: t for n, t in state.items() if not n.startswith(heads)}


def hourglass(branches):
    state = without_heads(official_hourglass())
    for s in range(2):
        for name, width in branches:
            conv(state, f'{name}.{s}.0.conv', 256, 256, 3, bias=True)
            conv(state, f'{name}.{s}.1', width, 256, 1, bias=True)
    return state


def test_official_hourglass():
    same = {
        'backbone.hourglass_modules.1.low2.low2.low3.1.bn2.weight': (
            'kps.1.low2.low2.low3.1.bn2.weight'
        ),
        'bbox_head.stacks.0.top_heat.2.bias': 't_heats.0.1.bias',
        'bbox_head.stacks.1.left_heat.0.bias': 'l_heats.1.0.conv.bias',
        'bbox_head.stacks.1.bottom_heat.2.bias': 'b_heats.1.1.bias',
        'bbox_head.stacks.1.right_heat.2.weight': 'r_heats.1.1.weight',
        'bbox_head.stacks.1.center_heat.2.bias': 'ct_heats.1.1.bias',
        'bbox_head.stacks.0.right_offset.2.bias': 'r_regrs.0.1.bias',
        'bbox_head.stacks.1.top_offset.0.weight': 't_regrs.1.0.conv.weight',
    }
    assert_loads('extremenet', hourglass(BRANCHES), same, HOURGLASS)


def test_hourglass_of_centernets_code():
    same = {
        'bbox_head.stacks.0.top_heat.2.bias': 'hm_t.0.1.bias',
        'bbox_head.stacks.1.center_heat.2.bias': 'hm_c.1.1.bias',
        'bbox_head.stacks.1.left_offset.0.bias': 'reg_l.1.0.conv.bias',
    }
    assert_loads('extremenet', hourglass(EXDET), same, HOURGLASS)


def test_dla_of_centernets_code():
    state = without_heads(official_dla())
    for name, width in EXDET:
        conv(state, f'{name}.0', 256, 64, 3, bias=True)
        conv(state, f'{name}.2', width, 256, 1, bias=True)
    same = {
        'bbox_head.stacks.0.top_heat.2.bias': 'hm_t.2.bias',
        'bbox_head.stacks.0.center_heat.0.bias': 'hm_c.0.bias',
        'bbox_head.stacks.0.bottom_offset.2.bias': 'reg_b.2.bias',
    }
    config = 'extremenet_dla34_crop512-140e_coco'
    assert_loads('extremenet', state, same, config)


def test_weights_of_another_method():
    state = official_dla()
    with pytest.raises(ValueError, match=r'hm\.'):
        load_converter('extremenet').convert(state)


def test_tests_of_the_same_weights_load_them():
    alternatives = load_converter('extremenet').alternatives
    assert len(alternatives(HOURGLASS)) == 4
    for config in alternatives(HOURGLASS):
        assert config.endswith('_hourglass104_crop511-50e_coco')


def branches(head):
    """Replace the branches of the last stack.

    Returns:
        list: Maps of logits of top, left, bottom, right and center, then of
        offsets of the four.
    """
    heats = [Maps(80, seed, mean=-2.0) for seed in range(5)]
    offsets = [Maps(2, seed, -0.5, 1.5) for seed in range(5, 9)]
    stack = head.stacks[-1]
    for name, maps in zip(list(stack), heats + offsets, strict=True):
        stack[name] = maps
    return heats + offsets


def risen(values, place, step):
    """Sum of the values that rise to a place from one side, without it."""
    total, before = 0.0, place - step
    while (
        0 <= before < len(values) and values[before] <= values[before + step]
    ):
        total += values[before]
        before -= step
    return total


def aggregate(heat, axis, weight=0.1):
    """Edge aggregation of (C, H, W), along x with axis 2, y with axis 1."""
    out = heat.copy()
    for label in np.flatnonzero(heat.max((1, 2)) > 0.1):  # not the quiet ones
        for y, x in np.ndindex(heat.shape[1:]):
            line, place = heat[label, y], x
            if axis == 1:
                line, place = heat[label, :, x], y
            sides = risen(line, place, 1) + risen(line, place, -1)
            out[label, y, x] += weight * sides
    return out


def extreme_points(heat, offsets, axis, weight):
    """40 peaks: score, class, y and x of the cell, y and x of the point."""
    if weight:
        heat = aggregate(heat, axis, weight)
    return [
        (
            min(score, 1.0),
            label,
            y,
            x,
            y + float(offsets[1, y, x]),
            x + float(offsets[0, y, x]),
        )
        for score, label, y, x in best_peaks(heat, 40)
        if score >= 0.1
    ]


def quadruples(maps, weight):
    """Boxes on the map: x1, y1, x2, y2, score and label, best first."""
    *heats, center = (sigmoid(part) for part in maps[:5])
    top, left, bottom, right = (
        extreme_points(heat, offsets, axis, weight)
        for heat, offsets, axis in zip(
            heats, maps[5:], (2, 1, 2, 1), strict=True
        )
    )
    found = []
    for t in top:
        for b in bottom:
            if b[1] != t[1] or b[2] < t[2]:
                continue
            # the others must be of the class, and between the two in y
            own_left, own_right = (
                [p for p in points if p[1] == t[1] and t[2] <= p[2] <= b[2]]
                for points in (left, right)
            )
            for p in own_left:
                for q in own_right:
                    if p[3] > min(t[3], b[3]) or q[3] < max(t[3], b[3], p[3]):
                        continue
                    y = int((t[2] + b[2] + 0.5) / 2)
                    x = int((p[3] + q[3] + 0.5) / 2)
                    middle = float(center[t[1], y, x])
                    if middle < 0.1:
                        continue
                    score = (t[0] + p[0] + b[0] + q[0] + 2 * middle) / 6
                    found.append((p[5], t[4], q[5], b[4], score, t[1]))
    return best_of(found, 1000)


def groups(canvas, maps, weight, flip):
    """The test at one scale, before the soft-NMS.

    Args:
        canvas: The input.
        maps: Logits of five and offsets of four, (2, ...) each.
        weight: Of edge aggregation.
        flip: Also the mirror image.
    """
    width = canvas.cells[0]
    found = []
    for image in range(2 if flip else 1):
        views = [part[image] for part in maps]
        for x1, y1, x2, y2, *rest in quadruples(views, weight):
            if image:
                x1, x2 = width - x2, width - x1
            box = *canvas.to_image(x1, y1), *canvas.to_image(x2, y2)
            found.append((*box, *rest))
    return found


def suppress_ghosts(found):
    """Halve boxes of a class that hold others, one after the other."""
    found = [list(row) for row in found]
    for row in found:
        inside = sum(
            other[4]
            for other in found
            if other[0] >= row[0]
            and other[1] >= row[1]
            and other[2] <= row[2]
            and other[3] <= row[3]
        )
        if row[4] > 0.2 and inside > 3 * row[4]:
            row[4] /= 2
    return [tuple(row) for row in found]


@pytest.mark.parametrize('tta', [False, True])
@pytest.mark.parametrize(
    'test', ['', '-octagon', '-no-aggregation', '-no-suppression']
)
def test_boxes_of_the_official_result_file(test, tta):
    """The official test always has the mirror image."""
    cfg, head = build_head(HOURGLASS.replace('_', f'{test}_', 1))
    canvas = Canvas(pad=127, odd=True)
    assert_input(cfg, canvas)
    parts = branches(head)
    maps = [part.of_call(0, *canvas.cells) for part in parts]
    weight = 0.0 if test == '-no-aggregation' else 0.1
    plain = of_classes(groups(canvas, maps, weight, tta), soft_nms)
    plain = best_of(plain)
    theirs = plain
    if test != '-no-suppression':
        theirs = of_classes(plain, suppress_ghosts)
        assert 0 < sum(a != b for a, b in zip(plain, theirs, strict=True))
    ours = detections(cfg, head, tta)
    assert_same(ours, official_file(theirs), scores=NMS_ERROR, least=30)


@pytest.mark.parametrize('config', [DLA, HOURGLASS])
def test_boxes_of_several_scales(config):
    cfg, head = build_head(config.replace('_', '-ms-test_', 1))
    parts = branches(head)
    dla = config == DLA
    weight = 0.0 if dla else 0.1
    found = []
    for call, scale in enumerate(SCALES):
        canvas = Canvas(scale) if dla else Canvas(scale, 127, odd=True)
        maps = [part.of_call(call, *canvas.cells) for part in parts]
        found += groups(canvas, maps, weight, flip=True)
    theirs = official_file(best_of(of_classes(found, soft_nms)))
    assert_same(detections(cfg, head, tta=True), theirs, scores=NMS_ERROR)


@pytest.mark.parametrize('tta', [False, True])
def test_boxes_of_centernets_code(tta):
    """Boxes may leave the image."""
    cfg, head = build_head(DLA)
    canvas = Canvas()
    assert_input(cfg, canvas)
    parts = branches(head)
    maps = [part.of_call(0, *canvas.cells) for part in parts]
    found = of_classes(groups(canvas, maps, 0.0, tta), soft_nms)
    theirs = official_file(best_of(found))
    assert min(row[1] for row in theirs) < -1
    ours = detections(cfg, head, tta)
    assert_same(ours, theirs, scores=NMS_ERROR, least=30)
