from types import SimpleNamespace

import pytest

from mmdet_assigners.engine.hooks import StopWithoutGainHook


def epochs_until_stop(values, patience=2):
    """After how many evaluations the training ends; None: it goes on."""
    logger = SimpleNamespace(info=lambda text: None)
    loop = SimpleNamespace(stop_training=False)
    runner = SimpleNamespace(train_loop=loop, logger=logger)
    hook = StopWithoutGainHook('coco/bbox_mAP', patience)
    for epoch, value in enumerate(values, 1):
        metrics = {} if value is None else {'coco/bbox_mAP': value}
        hook.after_val_epoch(runner, metrics)
        if loop.stop_training:
            return epoch
    return None


@pytest.mark.parametrize(
    ('values', 'epoch'),
    [
        ([0.1, 0.2, 0.3, 0.4], None),
        ([0.1, 0.2, 0.2, 0.2], 4),
        ([0.1, 0.2, 0.1, 0.201, 0.2, 0.2], 6),
        ([None, None, None], 3),  # no detection: an AP of 0
        ([None, 0.1, None, None], 4),
    ],
)
def test_when_it_ends(values, epoch):
    assert epochs_until_stop(values) == epoch


def test_unknown_metric():
    hook = StopWithoutGainHook('coco/segm_mAP', 1)
    with pytest.raises(ValueError, match='no metric coco/segm_mAP to monitor'):
        hook.after_val_epoch(None, {'coco/bbox_mAP': 0.1})
