"""The quick form, ``--mini``: any COCO config, small enough for a test.

:func:`apply_small_scale` shrinks a parsed config in four generic steps and
leaves the method itself untouched:

1. pre-trained weights are dropped;
2. a ResNet becomes a ResNet-18 with 16 base channels, every channel count
   after it is divided by four and the towers of the heads are halved (other
   backbones are left as they are); an R-CNN keeps a quarter of its proposals
   and samples;
3. images are resized to fit 320x240 instead of 1333x800;
4. the schedule becomes ``epochs`` long and the optimizer AdamW
   (``configs/_base_/small_scale.py``).

Classes and files come from the dataset. For what these steps don't cover (a
custom backbone, a keypoint head) a method's config has a top-level
``mini = dict(...)``: a config diff that is merged last, with ``_delete_`` and
list indices as in ``--cfg-options``.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

from mmengine.config import Config, ConfigDict

from ..datasets.roots import DataFiles
from ..utils import config_root, type_name, walk_config
from .data import use_data

IMAGE_SCALE = (320, 240)
_FULL_LONG_SIDE = 1333
_WIDTH = 4
_CHANNEL_KEYS = {
    'channels',
    'conv_out_channels',
    'fc_out_channels',
    'feat_channels',
    'in_channels',
    'mid_channels',
    'num_deconv_filters',
    'out_channels',
    'point_feat_channels',
}
_DEPTH_KEYS = {'num_convs', 'stacked_convs'}


def apply_small_scale(
    cfg: Config,
    data: str | DataFiles = 'shapes',
    eval_on: str = 'val',
    epochs: int = 4,
    batch_size: int = 4,
) -> Config:
    """Shrink a COCO config and point it at a dataset.

    Args:
        cfg: Parsed config of this package or mmdet; changed in place.
        data: The dataset (see `resolve_data`).
        eval_on: Split that is evaluated, ``val`` or ``train``.
        epochs: Length of the schedule.
        batch_size: Images per step.

    Returns:
        The same config.

    Raises:
        FileNotFoundError: No such dataset.
        ValueError: The dataset doesn't fit the config, or a number is less
            than 1.
    """
    check_positive(epochs=epochs, batch_size=batch_size)
    shrink_model(cfg.model)
    shrink_images(cfg)
    set_epochs(cfg, epochs)
    cfg.merge_from_dict(
        Config.fromfile(
            config_root() / '_base_' / 'small_scale.py'
        )._cfg_dict.to_dict()
    )
    _set_loaders(cfg, batch_size)
    merge_mini(cfg)
    use_data(cfg, data, eval_on)
    return cfg


def check_positive(**numbers: int | None) -> None:
    """Refuse the first number that is less than 1."""
    for name, value in numbers.items():
        if value is not None and value < 1:
            raise ValueError(f'{name} must be at least 1, got {value}')


def shrink(cfg: Config) -> None:
    """Shrink model and images, in place; schedule and data stay."""
    shrink_model(cfg.model)
    shrink_images(cfg)
    merge_mini(cfg)


def merge_mini(cfg: Config) -> None:
    """Merge the method's own ``mini`` diff, in place."""
    merge_diff(cfg, 'mini')
    cfg.form = 'mini'  # for those who read the config of a training
    cfg.pop('small', None)


def merge_diff(cfg: Config, name: str) -> None:
    """Merge a diff that a config carries as a top-level dict, in place."""
    diff = cfg.pop(name, None)
    if diff is not None:
        cfg.merge_from_dict(diff.to_dict())


def shrink_model(
    model: ConfigDict,
    small_backbone: Callable[[ConfigDict], ConfigDict] | None = None,
    stage_widths: Sequence[int] = (16, 32, 64, 128),
) -> None:
    """Steps 1 and 2 of the overlay, in place.

    Args:
        model: Model of a parsed config.
        small_backbone: Gives the backbone that replaces a ResNet; by default
            a ResNet-18 with 16 base channels.
        stage_widths: Channels of the four stages of that backbone.
    """
    drop_pretrained(model)
    _shrink_proposals(model)
    if 'backbone' not in model:
        raise ValueError(
            f'the model {type_name(model)} has no backbone to shrink; the '
            'small-scale forms take single detectors'
        )
    backbone = model.backbone
    if not type_name(backbone).startswith(('ResNet', 'ResNeXt')):
        return  # the widths of another backbone are given by `mini`
    bottleneck = backbone.get('depth', 50) >= 50
    last = 2048 if bottleneck else 512
    stages = (last // 8, last // 4, last // 2, last)
    widths = dict(zip(stages, stage_widths, strict=True))
    model.backbone = (small_backbone or _small_resnet)(backbone)
    neck = model.get('neck')
    of_last_stage = isinstance(neck, dict) and neck.get('in_channels') == last
    for key, node in model.items():
        if key != 'backbone':
            _shrink_widths(node, widths)
    if of_last_stage:
        neck.in_channels = stage_widths[-1]


def drop_pretrained(model: ConfigDict) -> None:
    """Remove all references to pre-trained weights, in place."""
    for _, node in walk_config(model):
        if 'pretrained' in node:
            node['pretrained'] = None
        init = node.get('init_cfg')
        if isinstance(init, dict) and type_name(init) == 'Pretrained':
            node['init_cfg'] = None


def shrink_images(cfg: Config) -> None:
    """Step 3 of the overlay: resize transforms of all pipelines."""
    factor = IMAGE_SCALE[0] / _FULL_LONG_SIDE

    def small(scale: tuple[int, int]) -> tuple[int, int]:
        if scale == (_FULL_LONG_SIDE, 800):
            return IMAGE_SCALE
        return (round(scale[0] * factor), round(scale[1] * factor))

    # `mini` gives small sizes already
    full = {key: value for key, value in cfg.items() if key != 'mini'}
    for _, node in walk_config(full):
        if type_name(node) in (
            'Resize',
            'RandomResize',
            'RandomChoiceResize',
        ):
            for key in ('scale', 'scales'):
                if key in node:
                    node[key] = _map_scales(node[key], small)


def set_epochs(cfg: Config, epochs: int) -> None:
    """Step 4 of the overlay: scale the schedule to ``epochs``, in place.

    Raises:
        ValueError: The config counts iterations, not epochs.
    """
    if not (cfg.get('train_cfg') or {}).get('max_epochs'):
        raise ValueError(
            'train_cfg has no max_epochs: a schedule in epochs is expected, '
            'iterations (max_iters) are not scaled'
        )
    factor = epochs / cfg.train_cfg.max_epochs
    cfg.train_cfg.max_epochs = epochs
    # a list, or a list for each of several optimizers
    nodes = (node for _, node in walk_config(cfg.get('param_scheduler')))
    schedulers: Any = [node for node in nodes if 'type' in node]
    for scheduler in schedulers:
        if not scheduler.get('by_epoch', True):
            # warm-up: 500 of 90 000 iterations on COCO
            scheduler.end = min(scheduler.end, 50)
            continue
        for key in ('begin', 'end', 'T_max'):
            if key in scheduler:
                scheduler[key] = math.ceil(scheduler[key] * factor)
        if 'milestones' in scheduler:
            scheduler.milestones = [
                max(1, math.ceil(step * factor))
                for step in scheduler.milestones
            ]


def _set_loaders(cfg: Config, batch_size: int) -> None:
    cfg.train_dataloader.batch_size = batch_size
    for part in ('train', 'val', 'test'):
        # small images: worker processes cost more time than they save
        loader = cfg.get(f'{part}_dataloader')
        if loader:
            loader.num_workers = 0
            loader.persistent_workers = False


def _shrink_proposals(model: ConfigDict) -> None:
    train, test = model.get('train_cfg') or {}, model.get('test_cfg') or {}
    for node in (train.get('rpn_proposal'), test.get('rpn')):
        for key in ('nms_pre', 'nms_post', 'max_per_img'):
            if node and key in node:
                node[key] //= _WIDTH
    stages = train.get('rcnn') or []
    for stage in [stages] if isinstance(stages, dict) else stages:
        if 'num' in stage.get('sampler', {}):  # PseudoSampler has none
            stage['sampler']['num'] //= _WIDTH


def _small_resnet(backbone: ConfigDict) -> ConfigDict:
    keep = ('out_indices', 'num_stages', 'strides', 'dilations')
    return ConfigDict(
        type='ResNet',
        depth=18,
        stem_channels=16,
        base_channels=16,
        norm_cfg=dict(type='BN', requires_grad=True),
        **{key: backbone[key] for key in keep if key in backbone},
    )


def _shrink_widths(node: Any, widths: dict[int, int]) -> None:
    for _, child in walk_config(node):
        for key, value in child.items():
            if key in _CHANNEL_KEYS:
                child[key] = _narrow(value, widths)
            elif key in _DEPTH_KEYS and isinstance(value, int):
                child[key] = math.ceil(value / 2)


def _narrow(value: Any, widths: dict[int, int]) -> Any:
    if isinstance(value, list | tuple):
        stages = value[-1] > value[0] or 2048 in value  # of a ResNet-50
        if widths and stages:
            return [widths.get(width, width) for width in value]
        return [_narrow(width, widths) for width in value]
    if isinstance(value, int) and value >= 64:
        return value // _WIDTH
    return value


def _map_scales(
    value: Any, small: Callable[[tuple[int, int]], tuple[int, int]]
) -> Any:
    if isinstance(value[0], int | float):
        return small(tuple(value))
    return [_map_scales(scale, small) for scale in value]
