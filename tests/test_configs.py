"""Sweep over every config: whatever is added is tested without being named."""

import argparse
import functools
import io
import math
import pickle
import re
from pathlib import Path

import pytest
import torch
from helpers import (
    BOXES,
    change_of,
    demo_batch,
    exception,
    leaf_configs,
    losses_of,
    main_configs,
    mini_config,
    mini_model,
    read_config,
    total_loss,
)
from mmdet.models.task_modules import DeltaXYWHBBoxCoder
from mmdet.registry import MODELS
from mmengine.config import DictAction

from mmdet_assigners.engine.hooks.train_progress_hook import followers
from mmdet_assigners.utils import (
    config_path,
    config_root,
    type_name,
    walk_config,
)


def _twin(path):
    """The config of the method that has the same classes, if it names one."""
    for twin, repeats in exception(path, 'REPEATS', {}).items():
        if path.stem in repeats:
            return twin
    return None


def _configs(*slow):
    """All configs, in one order; `make test` leaves the slow ones out."""
    return [
        pytest.param(
            path,
            id=path.stem,
            marks=[pytest.mark.slow]
            if change_of(path) in slow or _twin(path)
            else [],
        )
        for path in leaf_configs()
    ]


CONFIGS = _configs('numbers')
# for what depends on the classes of a model more than on their options
for_each_type = pytest.mark.parametrize(
    'config', _configs('numbers', 'options'), indirect=True, scope='module'
)


@pytest.fixture(scope='module', params=CONFIGS)
def config(request):
    return request.param


@pytest.fixture(scope='module')
def model(config):
    return mini_model(config)


@pytest.fixture(scope='module')
def loss_names(model):
    """Names of the losses of images with objects."""
    model.train()
    return losses_of(model, demo_batch([BOXES, BOXES])).keys()


@pytest.mark.parametrize('path', _configs('numbers', 'options'))
def test_full_size_builds(path):
    """The constructor takes every key of the config at full size."""
    cfg = read_config(path)
    assert cfg.custom_imports.imports == ['mmdet_assigners']
    assert cfg.auto_scale_lr.base_batch_size > 0
    with torch.device('meta'):
        model = MODELS.build(cfg.model)
    if followers(model):
        hooks = [hook.type for hook in cfg.custom_hooks]
        assert 'TrainProgressHook' in hooks


@pytest.mark.parametrize(
    'path', filter(_twin, leaf_configs()), ids=lambda path: path.stem
)
def test_repeats_have_the_classes_of_their_twin(path):
    """What `make test` leaves out runs no class that it doesn't run."""
    classes = [
        {
            type_name(node)
            for _, node in walk_config(mini_config(one).model)
            if 'type' in node
        }
        for one in (path, path.with_stem(_twin(path)))
    ]
    assert classes[0] <= classes[1]


def _commands_with_options():
    """``mmdet-assigners train CONFIG --cfg-options ...`` of the READMEs."""
    pattern = re.compile(
        r'mmdet-assigners train (\S+) --cfg-options((?:\s+\\?\s*[\w.]+=\S+)+)'
    )
    for path in sorted(config_root().glob('*/README.md')):
        for config, options in pattern.findall(path.read_text()):
            yield config, re.findall(r'[\w.]+=\S+', options)


@pytest.mark.parametrize(('config', 'options'), _commands_with_options())
def test_options_of_the_readmes_build(config, options):
    """Each sets a key of the config, to another value, that builds."""
    cfg = read_config(Path(config_path(config)))
    parser = argparse.ArgumentParser()
    parser.add_argument('options', nargs='*', action=DictAction)
    values = parser.parse_args(options).options
    for key, value in values.items():
        *parents, last = key.split('.')
        parent = functools.reduce(lambda node, name: node[name], parents, cfg)
        assert parent.get(last) != value, key
    cfg.merge_from_dict(values)
    with torch.device('meta'):
        MODELS.build(cfg.model)


def test_first_stage_matches_in_bounded_memory(config):
    """mmdet's assigners hold all overlaps of an image at once."""
    stage = read_config(config).model.get('train_cfg') or {}
    if 'ga_assigner' not in stage:
        stage = stage.get('rpn') or {}
    types = {
        stage.get(key, {}).get('type') for key in ('assigner', 'ga_assigner')
    }
    assert not types & {'MaxIoUAssigner', 'ApproxMaxIoUAssigner'}


def test_loss_reaches_every_parameter(config, model):
    model.train()
    model.zero_grad()
    losses = losses_of(model, demo_batch([BOXES, BOXES[:2]]))
    loss = total_loss(losses)
    assert torch.isfinite(loss) and loss > 0
    loss.backward()
    missing = [
        name
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
        and parameter.grad is None
        and name not in exception(config, 'NO_GRADIENT', ())
    ]
    assert not missing


@for_each_type
@pytest.mark.parametrize(
    'boxes',
    [[BOXES, []], [[], []]],
    ids=['one empty image', 'no object at all'],
)
def test_no_ground_truth(model, loss_names, boxes):
    """Same keys, finite, and every parameter stays in the graph (DDP)."""
    model.train()
    model.zero_grad()
    losses = losses_of(model, demo_batch(boxes))
    assert losses.keys() == loss_names
    loss = total_loss(losses)
    assert torch.isfinite(loss)
    loss.backward()
    assert not [
        name
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and parameter.grad is None
    ]


@for_each_type
def test_awkward_boxes(model):
    """Boxes without area, of one pixel and outside give a finite loss."""
    model.train()
    boxes = [[30, 40, 31, 41], [-50, -40, -10, -5], [100, 90, 400, 300]]
    boxes += [[0, 0, 160, 128]]
    empty = [[10, 10, 10, 10], [20, 20, 20, 60]]
    trained = getattr(model, 'roi_head', None) or model.bbox_head
    if type(trained).__module__.startswith('mmdet.') and any(
        isinstance(value, DeltaXYWHBBoxCoder)
        for module in trained.modules()
        for value in vars(module).values()  # coders are plain attributes
    ):
        # takes the logarithm of the sides: mmdet's datasets leave such boxes
        # out (see test_cli/test_run.py), `check` finds the others
        empty = []
    batch = demo_batch([boxes + empty, empty, BOXES])
    losses = {
        name: loss
        for name, loss in losses_of(model, batch).items()
        # mmdet's RPN logs an infinite loss; its gradient is finite
        if not empty or name != 'loss_rpn_bbox'
    }
    loss = total_loss(losses)
    assert torch.isfinite(loss)
    model.zero_grad()
    loss.backward()
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            assert torch.isfinite(parameter.grad).all(), name


@for_each_type
def test_autocast_is_finite(model):
    if getattr(model, 'with_roi_head', False):
        pytest.skip("mmcv's nms, between the stages, knows no bfloat16 on CPU")
    model.train()
    # a small image: bfloat16 is slow on a CPU
    boxes = [[side / 2 for side in box] for box in BOXES]
    batch = demo_batch([boxes, boxes[:1]], size=(64, 80))
    with torch.autocast('cpu', torch.bfloat16):
        losses = losses_of(model, batch)
    loss = total_loss(losses)
    assert loss.dtype == torch.float32
    assert torch.isfinite(loss)
    model.zero_grad()
    loss.backward()


# thresholds of test_cfg that untrained weights pass
THRESHOLDS = dict(
    score_thr=0.0, conf_thr=0.0, center_thr=0.0, distance_threshold=math.inf
)


def keep_untrained(model):
    """Let the outputs of untrained weights pass all thresholds."""
    for module in model.modules():
        cfg = getattr(module, 'test_cfg', None) or {}
        cfg.update({k: v for k, v in THRESHOLDS.items() if k in cfg})
        if hasattr(module, 'loc_filter_thr'):
            module.loc_filter_thr = 0.0
        if hasattr(module, 'reset_running_stats'):  # other tests move them
            module.reset_running_stats()


@for_each_type
def test_predict_batched_equals_single(model, config):
    model.eval()
    keep_untrained(model)
    empty = exception(config, 'FINDS_NOTHING', ())
    # oneDNN rounds differently in batches; a peak of a heat map may depend
    # on the last digit
    with torch.no_grad(), torch.backends.mkldnn.flags(enabled=False):
        both = demo_batch([BOXES, BOXES[:1]])
        data = model.data_preprocessor(both, False)
        batched = model(**data, mode='predict')
        for index, expected in enumerate(batched):
            one = {key: [value[index]] for key, value in both.items()}
            data = model.data_preprocessor(one, False)
            single = model(**data, mode='predict')[0].pred_instances
            expected = expected.pred_instances
            assert len(single) == len(expected)
            assert len(expected) or config.stem in empty
            # equal scores may come in another order; rounding: the logits of
            # an untrained net are large where inputs are (caffe style)
            torch.testing.assert_close(
                single.scores.sort().values,
                expected.scores.sort().values,
                rtol=1e-4,
                atol=1e-4,
            )
            torch.testing.assert_close(
                single.bboxes.sum(0),
                expected.bboxes.sum(0),
                rtol=1e-3,
                atol=1e-2,
            )


@for_each_type
def test_state_dict_round_trip(model, config):
    """A saved model loads strictly and predicts the same."""
    buffer = io.BytesIO()
    torch.save(model.state_dict(), buffer)
    buffer.seek(0)
    other = MODELS.build(mini_config(config).model)  # no initialization
    other.load_state_dict(torch.load(buffer), strict=True)
    for ours, theirs in zip(
        model.state_dict().values(), other.state_dict().values(), strict=True
    ):
        assert torch.equal(ours, theirs)


@for_each_type
def test_pickles(model):
    """DDP with spawn and EMA copy the module."""
    clone = pickle.loads(pickle.dumps(model))
    assert len(list(clone.parameters())) == len(list(model.parameters()))


@pytest.mark.parametrize('path', main_configs(), ids=lambda p: Path(p).stem)
def test_tensor_mode_exports(path):
    """The inference graph of each method's main config is exportable."""
    model = mini_model(path).eval()
    if getattr(model, 'with_roi_head', False):
        pytest.skip("mmdet's two-stage detectors can't do without samples")
    divisor = getattr(model.backbone, 'size_divisor', 32)
    image = torch.rand(1, 3, 128, max(160, 2 * divisor))
    exported = torch.export.export(model, (image,), strict=False)
    assert exported.graph_module is not None
