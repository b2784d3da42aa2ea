"""Pairs on their way from the annotation file to the metric."""

import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet.registry import DATASETS, MODELS, TRANSFORMS
from mmdet.structures import DetDataSample
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData

from mmdet_assigners.methods.pbm.boxes import PairedBoxes
from mmdet_assigners.methods.pbm.dataset import pair_of
from mmdet_assigners.methods.pbm.metrics import (
    PairedCocoMetric,
    VisibleCrowdHumanMetric,
)

HEIGHT, WIDTH = 100, 160
# xyxy of full and visible boxes; the last leaves the image
FULL = [[10, 10, 50, 90], [40, 5, 80, 95], [120, -20, 200, 60]]
VISIBLE = [[10, 10, 30, 90], [50, 5, 80, 60], [120, 0, 160, 60]]
FLAGS = [0, 1, 0]


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmdet')


def results():
    instances = [
        dict(bbox=full, vbox=visible, bbox_label=i, ignore_flag=flag)
        for i, (full, visible, flag) in enumerate(
            zip(FULL, VISIBLE, FLAGS, strict=True)
        )
    ]
    return dict(
        img=np.zeros((HEIGHT, WIDTH, 3), np.uint8),
        img_shape=(HEIGHT, WIDTH),
        ori_shape=(HEIGHT, WIDTH),
        img_id=1,
        img_path='1.jpg',
        instances=instances,
    )


LOAD = [
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='LoadVisibleBoxes'),
]


def run(*steps, start=None):
    """Apply transforms behind the loading."""
    found = start or results()
    for step in (*LOAD, *steps):
        found = TRANSFORMS.build(step)(found)
    return found


def test_loads_pairs():
    pairs = run()['gt_bboxes']
    assert isinstance(pairs, PairedBoxes) and pairs.tensor.shape == (3, 8)
    assert pairs.full.tolist() == FULL
    assert pairs.visible.tolist() == VISIBLE
    assert pairs.widths.tolist() == [40, 40, 80]


def test_awkward_visible_boxes():
    start = results()
    start['instances'][0]['vbox'] = [10, 10, 10, 90]
    del start['instances'][1]['vbox']
    start['instances'][2]['vbox'] = [110, -30, 150, 60]
    visible = run(start=start)['gt_bboxes'].visible.tolist()
    assert visible == [FULL[0], FULL[1], [120, -20, 150, 60]]
    start = results()
    start['instances'][2]['vbox'] = [110, -30, 150, 60]
    found = TRANSFORMS.build(LOAD[0])(start)
    found = TRANSFORMS.build(dict(LOAD[1], clip=False))(found)
    assert found['gt_bboxes'].visible[2].tolist() == [110, -30, 150, 60]
    start = results()
    start['instances'][0]['vbox'] = [1, 2, 3]
    with pytest.raises(ValueError, match='vbox must be x1, y1, x2, y2, got'):
        run(start=start)


def test_no_instances():
    start = results() | dict(instances=[])
    found = run(dict(type='PackPairedInputs'), start=start)['data_samples']
    assert found.gt_instances.visible_bboxes.shape == (0, 4)
    assert found.ignored_instances.visible_bboxes.shape == (0, 4)


TRANSFORMATIONS = [
    dict(type='RandomFlip', prob=1.0),
    dict(type='RandomFlip', prob=1.0, direction='diagonal'),
    dict(type='Resize', scale=(80, 70), clip_object_border=False),
    dict(type='Resize', scale=(320, 240), keep_ratio=True),
    dict(type='Expand', prob=1.0),
    dict(type='RandomCrop', crop_size=(60, 70), allow_negative_crop=True),
    dict(type='MinIoURandomCrop'),
    dict(type='RandomShift', prob=1.0),
    dict(type='RandomAffine', max_rotate_degree=0.0),
    dict(type='Pad', size_divisor=32),
    dict(type='FilterAnnotations', min_gt_bbox_wh=(30, 90)),
]  # fmt: skip


@pytest.mark.parametrize('step', TRANSFORMATIONS, ids=lambda s: s['type'])
@pytest.mark.parametrize('seed', range(4))
def test_pairs_move_together(step, seed):
    """Full and visible boxes move as ordinary boxes do, labels follow."""
    both = []
    for boxes in (None, FULL):
        np.random.seed(seed)  # noqa: NPY002, mmdet draws from it
        torch.manual_seed(seed)
        random.seed(seed)
        start = results()
        if boxes is not None:  # a pipeline without pairs
            found = TRANSFORMS.build(LOAD[0])(start)
            both.append(TRANSFORMS.build(step)(found))
        else:
            both.append(run(step, start=start))
    pairs, plain = both
    if plain is None or pairs is None:
        assert plain is pairs
        return
    assert np.array_equal(pairs['gt_bboxes_labels'], plain['gt_bboxes_labels'])
    assert np.array_equal(pairs['gt_ignore_flags'], plain['gt_ignore_flags'])
    torch.testing.assert_close(
        pairs['gt_bboxes'].full, plain['gt_bboxes'].tensor
    )
    boxes = pairs['gt_bboxes']
    assert isinstance(boxes, PairedBoxes)
    packed = TRANSFORMS.build(dict(type='PackPairedInputs'))(pairs)
    sample = packed['data_samples']
    for instances, flag in (
        (sample.gt_instances, 0),
        (sample.ignored_instances, 1),
    ):
        own = pairs['gt_ignore_flags'] == flag
        labels = pairs['gt_bboxes_labels'][own]
        assert instances.labels.tolist() == labels.tolist()
        full = instances.bboxes.tensor
        visible = instances.visible_bboxes
        assert visible.shape == full.shape
        # inside the full box, and of the same instance
        assert (visible[:, :2] >= full[:, :2]).all()
        assert (visible[:, 2:] <= full[:, 2:]).all()
        assert (visible[:, 2:] > visible[:, :2]).all()


def test_flip_and_size_of_known_boxes():
    found = run(
        dict(type='RandomFlip', prob=1.0),
        dict(type='Resize', scale=(320, 200)),
        dict(type='PackPairedInputs'),
    )['data_samples']
    # x -> 2 * (160 - x), y -> 2 y
    assert found.gt_instances.visible_bboxes.tolist() == [
        [260, 20, 300, 180],
        [0, 0, 80, 120],
    ]
    assert found.ignored_instances.visible_bboxes.tolist() == [
        [160, 10, 220, 120]
    ]


def test_a_crop_that_leaves_nothing_visible():
    found = run()
    found['gt_bboxes'].translate_([-35, 0])
    found['gt_bboxes'].clip_((HEIGHT, WIDTH))
    packed = TRANSFORMS.build(dict(type='PackPairedInputs'))(found)
    instances = packed['data_samples'].gt_instances
    assert instances.bboxes.tensor[0].tolist() == [0, 10, 15, 90]
    assert instances.visible_bboxes[0].tolist() == [0, 10, 15, 90]


def test_pairs_that_are_lost():
    found = TRANSFORMS.build(LOAD[0])(results())
    with pytest.raises(ValueError, match='needs pairs in gt_bboxes, got Hor'):
        TRANSFORMS.build(dict(type='PackPairedInputs'))(found)
    found['gt_bboxes'] = found['gt_bboxes'][:1]
    with pytest.raises(ValueError, match='right behind LoadAnnotations'):
        TRANSFORMS.build(LOAD[1])(found)
    with pytest.raises(ValueError, match='recompute_bbox=False'):
        PairedBoxes.from_instance_masks(None)


def test_batches_are_resized():
    sample = run(dict(type='PackPairedInputs'))['data_samples']
    sample.gt_instances.bboxes = sample.gt_instances.bboxes.tensor
    sample.ignored_instances.bboxes = sample.ignored_instances.bboxes.tensor
    resize = MODELS.build(
        dict(type='PairedBatchResize', scale=(320, 200), pad_size_divisor=64)
    )
    inputs, (sample,) = resize(torch.zeros(1, 3, HEIGHT, WIDTH), [sample])
    assert inputs.shape == (1, 3, 256, 320)
    for instances in (sample.gt_instances, sample.ignored_instances):
        rows = [0, 2] if len(instances) == 2 else [1]
        expected = torch.tensor(VISIBLE)[rows] * 2.0
        assert torch.equal(instances.visible_bboxes, expected)
        assert torch.equal(instances.bboxes, torch.tensor(FULL)[rows] * 2.0)
    assert resize(torch.zeros(1, 3, HEIGHT, WIDTH), None)[1] is None


def test_pairs_of_annotations():
    box, other = [1, 2, 3, 4], [1, 2, 9, 9]
    assert pair_of(dict(bbox=box)) == (box, box)
    assert pair_of(dict(bbox=box, vis_bbox=other)) == (box, other)
    assert pair_of(dict(bbox=box, full_bbox=other)) == (other, box)
    assert pair_of(dict(bbox=box, vis_bbox=None)) == (box, box)
    with pytest.raises(ValueError, match='vis_bbox must be x, y, width and'):
        pair_of(dict(bbox=box, vis_bbox=[1, 2], id=7))


def xywh(box):
    x1, y1, x2, y2 = box
    return [x1, y1, x2 - x1, y2 - y1]


@pytest.fixture
def coco(tmp_path):
    annotations = [
        dict(
            id=i + 1,
            image_id=1,
            category_id=1,
            bbox=xywh(full),
            vis_bbox=xywh(visible),
            area=100,
            iscrowd=flag,
        )
        for i, (full, visible, flag) in enumerate(
            zip(FULL, VISIBLE, FLAGS, strict=True)
        )
    ]
    path = tmp_path / 'train.json'
    path.write_text(
        json.dumps(
            dict(
                images=[dict(id=1, file_name='a', height=100, width=160)],
                annotations=annotations,
                categories=[dict(id=1, name='person')],
            )
        )
    )
    return str(path)


def test_dataset(coco):
    """One annotation is left out; the pairs of the others stay together."""
    path = Path(coco)
    content = json.loads(path.read_text())
    own = content['annotations']
    own.insert(1, dict(own[0], id=9, bbox=[5, 5, 0, 0]))
    path.write_text(json.dumps(content))
    dataset = DATASETS.build(
        dict(
            type='PairedCocoDataset',
            ann_file=coco,
            data_prefix=dict(img=''),
            metainfo=dict(classes=('person',)),
        )
    )
    instances = dataset.get_data_info(0)['instances']
    assert [i['bbox'] for i in instances] == FULL
    assert [i['vbox'] for i in instances] == VISIBLE
    assert [i['ignore_flag'] for i in instances] == FLAGS


@pytest.mark.parametrize('boxes', ['full', 'visible'])
def test_coco_metric(coco, boxes):
    chosen = FULL if boxes == 'full' else VISIBLE
    metric = PairedCocoMetric(ann_file=coco, boxes=boxes, metric='bbox')
    metric.dataset_meta = dict(classes=('person',))
    other = VISIBLE if boxes == 'full' else FULL
    sample = prediction(full=FULL, visible=VISIBLE)
    metric.process({}, [sample])
    right = metric.evaluate(1)['coco/bbox_mAP']
    metric.process({}, [prediction(full=other, visible=other)])
    assert right == 1.0 > metric.evaluate(1)['coco/bbox_mAP']
    assert chosen != other
    with pytest.raises(ValueError, match='boxes must be one of full, vis'):
        PairedCocoMetric(ann_file=coco, boxes='head')


def test_visible_boxes_of_the_metric(coco):
    """Those that are learned: clipped, or the full box."""
    content = json.loads(Path(coco).read_text())
    first, second, _ = content['annotations']
    x, y, width, height = first['bbox']
    first['vis_bbox'] = [x, y, width + 9, height / 2]
    second['vis_bbox'] = [*second['bbox'][:2], 0, 5]
    Path(coco).write_text(json.dumps(content))
    metric = PairedCocoMetric(ann_file=coco, boxes='visible', metric='bbox')
    found = metric._coco_api.dataset['annotations']
    assert found[0]['bbox'] == [x, y, width, height / 2]
    assert found[0]['area'] == width * height / 2
    assert found[1]['bbox'] == second['bbox']


def prediction(full, visible):
    sample = DetDataSample(metainfo=dict(img_id=1, ori_shape=(HEIGHT, WIDTH)))
    sample.pred_instances = InstanceData(
        bboxes=torch.tensor(full).float(),
        visible_bboxes=torch.tensor(visible).float(),
        scores=torch.tensor([0.9, 0.8, 0.7]),
        labels=torch.zeros(3, dtype=torch.long),
    )
    return sample.to_dict()


def test_crowdhuman_metric(tmp_path):
    boxes = [
        dict(
            tag='person',
            fbox=xywh(full),
            vbox=xywh(visible),
            hbox=[0, 0, 1, 1],
        )
        for full, visible in zip(FULL, VISIBLE, strict=True)
    ]
    path = tmp_path / 'annotation_val.odgt'
    path.write_text(json.dumps(dict(ID=1, gtboxes=boxes)))
    metric = VisibleCrowdHumanMetric(ann_file=str(path), metric=['AP'])
    metric.process({}, [prediction(full=FULL, visible=VISIBLE)])
    # all are right; mmdet's area begins at the recall of the first, 1/3
    right = metric.evaluate(1)['crowd_human_visible/mAP']
    assert right == pytest.approx(2 / 3, abs=1e-3)
    # full boxes are no visible boxes
    metric.process({}, [prediction(full=FULL, visible=FULL)])
    assert metric.evaluate(1)['crowd_human_visible/mAP'] < right
    sample = prediction(full=FULL, visible=VISIBLE)
    del sample['pred_instances']['visible_bboxes']
    with pytest.raises(ValueError, match='have no visible_bboxes: the model'):
        metric.process({}, [sample])
