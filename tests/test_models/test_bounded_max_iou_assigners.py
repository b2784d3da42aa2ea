"""Bounded assigners equal mmdet's, number by number."""

import pytest
import torch
from mmdet.models.task_modules.assigners import (
    ApproxMaxIoUAssigner,
    MaxIoUAssigner,
)
from mmdet.registry import TASK_UTILS
from mmengine.structures import InstanceData
from test_sync import SyncCounter
from torch.utils._python_dispatch import TorchDispatchMode

RPN = dict(pos_iou_thr=0.7, neg_iou_thr=0.3, min_pos_iou=0.3)
LOOSE = dict(pos_iou_thr=0.5, neg_iou_thr=0.4)  # the next level counts IoU 0
OPTIONS = [
    RPN,
    LOOSE,
    dict(LOOSE, gt_max_assign_all=False),
    dict(RPN, match_low_quality=False),
    dict(LOOSE, neg_iou_thr=(0.1, 0.4)),
    dict(LOOSE, neg_iou_thr=1),  # not a float: mmdet has no negatives
    dict(LOOSE, ignore_iof_thr=0.5),
    dict(RPN, ignore_iof_thr=0.1, ignore_wrt_candidates=False),
]


def boxes(count, seed, far=0):
    """Boxes on a grid of 4 pixels, so that overlaps tie; some are equal."""
    generator = torch.Generator().manual_seed(seed)
    corner = torch.randint(0, 24, (count, 2), generator=generator) * 4.0
    sides = torch.randint(0, 8, (count, 2), generator=generator) * 4.0
    return torch.cat((corner, corner + sides), 1) + far


def problem(num_gts, num_priors=150, seed=0):
    """Priors, ground truths with one that overlaps nothing, regions."""
    gts = boxes(num_gts, seed)
    if num_gts > 3:
        gts[2] += 1000
    around = torch.randint(-2, 3, (num_priors, 3, 4)) * 4.0
    priors = boxes(num_priors, seed + 1)
    pred = InstanceData(priors=priors, approxs=priors[:, None] + around)
    labels = torch.arange(num_gts) % 5
    return (
        pred,
        InstanceData(bboxes=gts, labels=labels),
        InstanceData(bboxes=boxes(2, seed + 2)),
    )


def assert_equal(found, expected):
    assert found.num_gts == expected.num_gts
    for name in ('gt_inds', 'max_overlaps', 'labels'):
        first, second = getattr(found, name), getattr(expected, name)
        assert first.dtype == second.dtype
        assert torch.equal(first, second), name


@pytest.mark.parametrize('reference', [MaxIoUAssigner, ApproxMaxIoUAssigner])
@pytest.mark.parametrize('options', OPTIONS, ids=str)
@pytest.mark.parametrize('max_elements', [1, 2000, 2**22])
def test_equals_mmdet(reference, options, max_elements):
    kinds = set()
    ours = TASK_UTILS.build(
        dict(
            type=f'Bounded{reference.__name__}',
            max_elements=max_elements,
            **options,
        )
    )
    theirs = reference(**options)
    torch.manual_seed(0)
    for num_gts in (0, 1, 7, 40, 90):
        for regions in (True, False):
            pred, gts, ignored = problem(num_gts, seed=num_gts)
            ignored = ignored if regions else None
            expected = theirs.assign(pred, gts, ignored)
            assert_equal(ours.assign(pred, gts, ignored), expected)
            kinds |= set(expected.gt_inds.clamp(max=1).tolist())
    assert len(kinds) > 1


@pytest.mark.parametrize('name', ['MaxIoU', 'ApproxMaxIoU'])
def test_nothing_to_assign(name):
    ours = TASK_UTILS.build(dict(type=f'Bounded{name}Assigner', **RPN))
    theirs = TASK_UTILS.build(dict(type=f'{name}Assigner', **RPN))
    for counts in ((0, 5), (5, 0), (0, 0)):
        args = problem(*counts)
        assert_equal(ours.assign(*args), theirs.assign(*args))


def test_other_calculators_are_called():
    """Half precision ties where single precision doesn't."""
    options = dict(
        RPN, iou_calculator=dict(type='BboxOverlaps2D', dtype='fp16')
    )
    args = problem(40)
    expected = MaxIoUAssigner(**options).assign(*args)
    ours = TASK_UTILS.build(dict(type='BoundedMaxIoUAssigner', **options))
    assert_equal(ours.assign(*args), expected)
    plain = MaxIoUAssigner(**RPN).assign(*args)
    assert not torch.equal(plain.max_overlaps, expected.max_overlaps)


def test_repeated_boxes_are_moved():
    options = dict(RPN, perm_repeat_gt_cfg=dict(iou_thr=0.7, perm_range=0.01))
    pred, gts, _ = problem(40)
    gts.bboxes[1] = gts.bboxes[0]
    results = []
    for name in ('MaxIoUAssigner', 'BoundedMaxIoUAssigner'):
        torch.manual_seed(0)
        assigner = TASK_UTILS.build(dict(type=name, **options))
        results.append(assigner.assign(pred, gts))
    assert_equal(*results)


class Largest(TorchDispatchMode):
    """The largest tensor that any operator returned."""

    numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for each in out if isinstance(out, tuple) else (out,):
            if isinstance(each, torch.Tensor):
                self.numel = max(self.numel, each.numel())
        return out


@pytest.mark.parametrize('name', ['MaxIoU', 'ApproxMaxIoU'])
def test_memory_is_bounded(name):
    args = problem(1000)
    sizes = []
    for kind in ('Bounded', ''):
        options = dict(max_elements=5000) if kind else {}
        assigner = TASK_UTILS.build(
            dict(type=f'{kind}{name}Assigner', **RPN, **options)
        )
        with Largest() as largest:
            assigner.assign(*args)
        sizes.append(largest.numel)
    assert sizes[0] <= 5000 < 150 * 1000 <= sizes[1]


@pytest.mark.parametrize('name', ['MaxIoU', 'ApproxMaxIoU'])
def test_no_synchronization(name):
    options = dict(LOOSE, ignore_iof_thr=0.5, max_elements=5000)
    assigner = TASK_UTILS.build(dict(type=f'Bounded{name}Assigner', **options))
    with SyncCounter() as counter:
        assigner.assign(*problem(100))
    assert not counter.count


def test_bad_bound():
    with pytest.raises(ValueError, match='max_elements must be at least 1'):
        TASK_UTILS.build(
            dict(type='BoundedMaxIoUAssigner', max_elements=0, **RPN)
        )
