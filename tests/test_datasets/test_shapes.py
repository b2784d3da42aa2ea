import json
import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from mmdet.datasets import CocoDataset
from pycocotools.coco import COCO

from mmdet_assigners.datasets import shapes
from mmdet_assigners.datasets._shapes_scene import MIN_VISIBLE, mask_box
from mmdet_assigners.datasets.shapes import (
    SHAPES_CLASSES,
    SHAPES_METAINFO,
    ShapeObject,
    draw_scene,
    generate_shapes,
)

TINY = dict(num_train=3, num_val=1, num_test=1, image_size=(96, 64))


def files(root):
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob('*'))
        if path.is_file()
    }


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    parent = tmp_path_factory.mktemp('data')
    return generate_shapes(
        parent / 'shapes', 96, 8, 4, image_size=(320, 240), seed=0
    )


@pytest.fixture(scope='module')
def coco(root):
    return COCO(str(root / 'annotations' / 'train.json'))


def test_layout(root):
    names = set(files(root))
    assert {'shapes.json', 'annotations/test.json'} <= names
    assert sum(name.startswith('images/train_') for name in names) == 96
    assert sum(name.startswith('images/val_') for name in names) == 8
    assert len(names) == 96 + 8 + 4 + 3 + 1
    assert json.loads((root / 'shapes.json').read_text())['seed'] == 0
    image = cv2.imread(str(root / 'images' / 'test_00003.jpg'))
    assert image.shape == (240, 320, 3)


def test_one_seed_one_set_of_files(tmp_path):
    threads = cv2.getNumThreads()
    try:
        cv2.setNumThreads(1)
        first = files(generate_shapes(tmp_path / 'a', **TINY))
        cv2.setNumThreads(3)
        second = files(generate_shapes(tmp_path / 'b', **TINY))
    finally:
        cv2.setNumThreads(threads)
    assert first == second
    other = files(generate_shapes(tmp_path / 'c', **TINY, seed=1))
    image = 'images/train_00000.jpg'
    assert other[image] != first[image]
    assert first[image] != first['images/val_00000.jpg']
    more = files(generate_shapes(tmp_path / 'd', **{**TINY, 'num_train': 4}))
    assert more[image] == first[image]


def test_masks_boxes_and_areas_agree(coco):
    for annotation in coco.anns.values():
        mask = coco.annToMask(annotation).astype(bool)
        rows, cols = np.nonzero(mask)
        x, y, w, h = annotation['bbox']
        assert (x, y) == (cols.min(), rows.min())
        assert (x + w, y + h) == (cols.max() + 1, rows.max() + 1)
        assert annotation['area'] == mask.sum()
        assert annotation['iscrowd'] == 0


def test_masks_of_one_image_are_disjoint(coco):
    for ids in coco.imgToAnns.values():
        total = sum(coco.annToMask(a).astype(int) for a in ids)
        assert total.max() == 1


def test_extreme_points_touch_the_sides(coco):
    for annotation in coco.anns.values():
        mask = coco.annToMask(annotation)
        x, y, w, h = annotation['bbox']
        top, left, bottom, right = annotation['extreme_points']
        assert (top[1], left[0]) == (y, x)
        assert (bottom[1], right[0]) == (y + h, x + w)
        assert mask[y, int(top[0])]
        assert mask[int(left[1]), x]
        assert mask[y + h - 1, int(bottom[0])]
        assert mask[int(right[1]), x + w - 1]


def test_extreme_points_by_hand():
    mask = np.zeros((6, 8), bool)
    mask[1, 4] = mask[2, 2:7] = mask[3, 3:6] = mask[4, [3, 5]] = True
    shape = ShapeObject(0, mask, (2, 1, 7, 5), 1.0)
    assert shape.box == (2, 1, 7, 5)
    # below, the two tips touch: the point is on a tip, not between them
    assert shape.extreme_points == ((4.5, 1), (2, 2.5), (5.5, 5), (7, 2.5))


def test_annotation_by_hand():
    mask = np.zeros((6, 8), bool)
    mask[2:4, 5:8] = True
    shape = ShapeObject(3, mask, (5, 2, 11, 4), 0.5)
    annotation = shapes.to_coco(shape)
    counts = annotation.pop('segmentation')
    assert counts['size'] == [6, 8]
    assert annotation == dict(
        category_id=4,
        bbox=[5, 2, 3, 2],
        area=6,
        iscrowd=0,
        full_bbox=[5, 2, 6, 2],
        extreme_points=[[6.5, 2.0], [5.0, 3.5], [6.5, 4.0], [8.0, 3.5]],
        visible_fraction=0.5,
    )


def test_full_boxes_contain_the_visible_ones(coco):
    beyond = hidden = 0
    for annotation in coco.anns.values():
        x, y, w, h = annotation['bbox']
        full_x, full_y, full_w, full_h = annotation['full_bbox']
        assert full_x <= x and x + w <= full_x + full_w
        assert full_y <= y and y + h <= full_y + full_h
        fraction = annotation['visible_fraction']
        assert MIN_VISIBLE - 1e-4 <= fraction <= 1
        if fraction == 1:
            assert annotation['full_bbox'] == annotation['bbox']
        beyond += full_x < 0 or full_y < 0
        hidden += fraction < 0.6
    assert beyond > 20  # cut off by the border
    assert hidden > 50


def test_variety(coco):
    annotations = coco.anns.values()
    sides = [
        np.sqrt(a['full_bbox'][2] * a['full_bbox'][3]) for a in annotations
    ]
    assert np.log2(max(sides) / min(sides)) >= 3
    octaves = Counter(int(np.log2(side)) for side in sides)
    assert all(octaves[k] > 20 for k in (4, 5, 6))  # 16 to 128 pixels
    labels = Counter(a['category_id'] for a in annotations)
    assert set(labels) == set(range(1, len(SHAPES_CLASSES) + 1))
    assert max(labels.values()) < 2 * min(labels.values())
    counts = Counter(a['image_id'] for a in annotations)
    empty = [i for i in coco.imgs if i not in counts]
    assert empty == [8, 32, 56, 80]
    assert max(counts.values()) >= 20
    bars = [
        max(w, h) / min(w, h)
        for *_, w, h in (
            a['full_bbox'] for a in annotations if a['category_id'] == 4
        )
    ]
    assert max(bars) > 3


def test_rings_are_hollow(coco):
    whole = 0
    for annotation in coco.anns.values():
        name = SHAPES_CLASSES[annotation['category_id'] - 1]
        if name != 'ring' or annotation['visible_fraction'] < 1:
            continue
        x, y, w, h = annotation['bbox']
        assert not coco.annToMask(annotation)[y + h // 2, x + w // 2]
        whole += 1
    assert whole > 5


def test_mmdet_reads_it(root, coco):
    dataset = CocoDataset(
        data_root=str(root),
        ann_file='annotations/train.json',
        data_prefix=dict(img='images/'),
        metainfo=SHAPES_METAINFO,
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='mmdet.LoadAnnotations', with_bbox=True, with_mask=True),
        ],
    )
    assert dataset.metainfo['classes'] == SHAPES_CLASSES
    assert len(dataset.metainfo['palette']) == len(SHAPES_CLASSES)
    assert len(dataset) == 96  # images without objects are kept
    assert len(dataset[7]['instances']) == 0
    data = dataset[3]
    expected = coco.imgToAnns[4]
    assert data['img'].shape == (240, 320, 3)
    assert len(data['gt_bboxes']) == len(expected)
    assert list(data['gt_masks'].areas) == [a['area'] for a in expected]
    labels = [a['category_id'] - 1 for a in expected]
    assert data['gt_bboxes_labels'].tolist() == labels


def test_second_call_writes_nothing(tmp_path):
    root = generate_shapes(tmp_path / 'shapes', **TINY)
    before = {p: os.stat(p).st_mtime_ns for p in root.rglob('*')}
    assert generate_shapes(str(root), **TINY) == root
    assert before == {p: os.stat(p).st_mtime_ns for p in root.rglob('*')}
    assert os.listdir(tmp_path) == ['shapes']


def test_other_parameters_are_refused(tmp_path):
    root = generate_shapes(tmp_path / 'shapes', **TINY)
    with pytest.raises(ValueError, match='seed 0 instead of 1'):
        generate_shapes(root, **TINY, seed=1)
    before = files(root)
    with pytest.raises(ValueError, match='num_train 3 instead of 2'):
        generate_shapes(root, **{**TINY, 'num_train': 2})
    assert files(root) == before


def test_foreign_folders_are_left_alone(tmp_path):
    (tmp_path / 'mine.txt').write_text('precious')
    with pytest.raises(FileExistsError, match='not a shapes dataset'):
        generate_shapes(tmp_path, **TINY)
    with pytest.raises(FileExistsError, match='not a shapes dataset'):
        generate_shapes(tmp_path / 'mine.txt', **TINY)
    assert os.listdir(tmp_path) == ['mine.txt']
    (tmp_path / 'void').mkdir()
    root = generate_shapes(tmp_path / 'void', **TINY)
    assert (root / 'shapes.json').is_file()


def test_interruption_leaves_nothing(tmp_path, monkeypatch):
    drawn = []

    def interrupted(*args):
        drawn.append(args)
        if len(drawn) == 3:
            raise KeyboardInterrupt
        return draw_scene(*args)

    monkeypatch.setattr(shapes, 'draw_scene', interrupted)
    with pytest.raises(KeyboardInterrupt):
        generate_shapes(tmp_path / 'shapes', **TINY)
    assert len(drawn) == 3
    assert os.listdir(tmp_path) == []


def test_simultaneous_calls(tmp_path):
    def generate(_):
        return generate_shapes(tmp_path / 'shapes', **TINY)

    with ThreadPoolExecutor(4) as pool:
        roots = set(pool.map(generate, range(4)))
    assert roots == {tmp_path / 'shapes'}
    assert os.listdir(tmp_path) == ['shapes']
    alone = generate_shapes(tmp_path / 'alone', **TINY)
    assert files(alone) == files(tmp_path / 'shapes')


@pytest.mark.parametrize(
    ('argument', 'error', 'message'),
    [
        (dict(num_train=0), ValueError, 'num_train must be in .*, got 0'),
        (dict(num_val=1.5), TypeError, 'num_val must be an integer, got 1.5'),
        (dict(num_test=True), TypeError, 'num_test must be an integer'),
        (dict(seed=-1), ValueError, 'seed must be in .*, got -1'),
        (dict(image_size=320), ValueError, 'image_size must be .*, got 320'),
        (dict(image_size=(320, 8)), ValueError, 'image_size must be .*got 8'),
        (dict(image_size=('a', 99)), TypeError, "image_size .*, got 'a'"),
    ],
)
def test_bad_arguments(tmp_path, argument, error, message):
    with pytest.raises(error, match=message):
        generate_shapes(tmp_path / 'shapes', **argument)
    assert os.listdir(tmp_path) == []


def test_draw_scene():
    image, objects = draw_scene(np.random.default_rng(5), (100, 80), 'crowd')
    again, _ = draw_scene(np.random.default_rng(5), (100, 80), 'crowd')
    assert np.array_equal(image, again)
    assert image.shape == (80, 100, 3) and image.dtype == np.uint8
    assert len({shape.label for shape in objects}) in (2, 3)
    assert all(shape.mask.shape == (80, 100) for shape in objects)
    assert objects[-1].box == mask_box(objects[-1].mask)
    _, none = draw_scene(np.random.default_rng(5), (100, 80), 'empty')
    assert none == []
    with pytest.raises(ValueError, match=r"scene must be one of .*got 'full'"):
        draw_scene(np.random.default_rng(5), scene='full')
