"""The published form, ``--small``: small, but able to carry a claim.

:func:`apply_protocol` gives a method and its baseline the same conditions:

1. a ResNet becomes an EfficientNet-Lite0 with ImageNet weights, of which
   ``FROZEN_STAGES`` stages are not trained; the rest of the model is shrunk as
   in the quick form (:mod:`.mini`);
2. images are resized to fit 480x360 and flipped; no other augmentation;
3. one recipe for all: optimizer, clipping, warm-up, schedule, batches
   (``configs/_base_/protocol.py``).

The method itself stays: losses, assigners, its own hooks. What its model has
to adapt to these sizes is in its config: the ``model`` of ``mini =
dict(...)`` and, merged after it, ``small = dict(...)``, which may also ask for
more epochs (``train_cfg=dict(max_epochs=...)``).
"""

import math

from mmengine.config import Config, ConfigDict

from ..datasets.roots import DataFiles
from ..utils import config_root, type_name, walk_config
from .data import use_data
from .mini import check_positive, merge_diff, set_epochs, shrink_model

FROZEN_STAGES = 6
CACHE_DIR = 'work_dirs/frozen_stages'
_STAGE_WIDTHS = (24, 40, 112, 320)


def apply_protocol(
    cfg: Config,
    data: str | DataFiles = 'shapes',
    eval_on: str = 'val',
    epochs: int | None = None,
    batch_size: int | None = None,
) -> Config:
    """Apply the overlay and point a COCO config at a dataset.

    Args:
        cfg: Parsed config of this package or mmdet; changed in place.
        data: The dataset (see `resolve_data`).
        eval_on: Split that is evaluated, ``val`` or ``train``.
        epochs: Length of the schedule, by default that of the protocol.
        batch_size: Images per step, by default that of the protocol.

    Returns:
        The same config.

    Raises:
        FileNotFoundError: No such dataset.
        ValueError: The dataset doesn't fit the config, or a number is less
            than 1.
    """
    check_positive(epochs=epochs, batch_size=batch_size)
    masks = any(
        node.get('with_mask') for _, node in walk_config(cfg._cfg_dict)
    )
    shrink_model(cfg.model, _lite_backbone, _STAGE_WIDTHS)
    recipe = Config.fromfile(config_root() / '_base_' / 'protocol.py')
    cfg.merge_from_dict(recipe._cfg_dict.to_dict())
    if masks:
        _train_masks(cfg)
    quick = cfg.pop('mini', {})
    cfg.mini = ConfigDict(model=quick.get('model', {}))
    for name in ('mini', 'small'):
        merge_diff(cfg, name)
    cfg.form = 'small'
    # the schedule is that of the recipe until here
    epochs = epochs or cfg.train_cfg.max_epochs
    cfg.train_cfg = recipe.train_cfg
    set_epochs(cfg, epochs)
    # the second half of the curve, in four points
    cfg.train_cfg.val_begin = math.ceil(epochs / 2)
    cfg.train_cfg.val_interval = max(1, epochs // 6)
    if batch_size:
        cfg.train_dataloader.batch_size = batch_size
    use_data(cfg, data, eval_on)
    return cfg


def _lite_backbone(backbone: ConfigDict) -> ConfigDict:
    stages = backbone.get('out_indices', (0, 1, 2, 3))
    return ConfigDict(
        type='EfficientNetLite0',
        # its first two have strides 2 and 2
        out_indices=[stage + 2 for stage in stages],
        frozen_stages=FROZEN_STAGES,
        cache_dir=CACHE_DIR,
    )


def _train_masks(cfg: Config) -> None:
    """Load masks and evaluate them, in place."""
    for _, node in walk_config(cfg._cfg_dict):
        if type_name(node) == 'LoadAnnotations':
            node['with_mask'] = True
        elif type_name(node) == 'CocoMetric':
            node['metric'] = ['bbox', 'segm']
