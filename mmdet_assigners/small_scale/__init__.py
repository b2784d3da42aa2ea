"""Any COCO config at small scale, in two forms.

The quick form, ``--mini`` (:mod:`.mini`), starts from random weights and takes
minutes on a laptop: for tests, demos and a first look. The published form,
``--small`` (:mod:`.protocol`), starts from a pretrained trunk; the results in
``docs/small_scale.md`` are made with it.
"""

import difflib
from collections.abc import Mapping
from typing import Any

from mmengine.config import Config

from ..config_diff import keys_that_are_read
from ..datasets.roots import DataFiles
from ..diagnostics.problem import one_line
from ..utils import register_all_modules, resolve_config
from .data import set_num_classes, use_data
from .mini import (
    IMAGE_SCALE,
    apply_small_scale,
    check_positive,
    drop_pretrained,
    merge_mini,
    set_epochs,
    shrink,
    shrink_images,
    shrink_model,
)
from .protocol import apply_protocol

__all__ = [
    'IMAGE_SCALE',
    'apply_protocol',
    'apply_small_scale',
    'drop_pretrained',
    'load_config',
    'merge_mini',
    'set_num_classes',
    'shrink',
    'shrink_images',
    'shrink_model',
    'use_data',
]


def load_config(
    name: str,
    mini: bool = False,
    data: str | DataFiles | None = None,
    *,
    small: bool = False,
    eval_on: str = 'val',
    epochs: int | None = None,
    batch_size: int | None = None,
    num_classes: int | None = None,
    options: Mapping[str, Any] | None = None,
) -> Config:
    """Load a config and change it, as the commands do.

    Args:
        name: Name of our config, ``mmdet::name``, or a path.
        mini: Shrink model and images; with ``data`` apply the whole overlay
            (see `apply_small_scale`).
        small: Apply the overlay of the published results (see
            `apply_protocol`); needs ``data``.
        data: The dataset (see `resolve_data`); by default the
            files of the config.
        eval_on: Split of ``data`` that is evaluated, ``val`` or ``train``.
        epochs: Length of the schedule; by default the config's, 4 with
            ``mini``, the protocol's with ``small``.
        batch_size: Images per step; by default the config's, 4 with ``mini``,
            the protocol's with ``small``.
        num_classes: Number of classes of the model; by default those of
            ``data``, or the config's.
        options: Dotted key -> value, merged last.

    Raises:
        FileNotFoundError: No such config or dataset.
        ValueError: The dataset doesn't fit the config, a number is less than
            1, or ``small`` comes without ``data`` or with ``mini``.
    """
    if small and (mini or not data):
        raise ValueError('small=True needs data, and excludes mini=True')
    check_positive(epochs=epochs, batch_size=batch_size)
    cfg = _read(resolve_config(name))
    if small and data:
        apply_protocol(cfg, data, eval_on, epochs, batch_size)
    elif mini and data:
        apply_small_scale(cfg, data, eval_on, epochs or 4, batch_size or 4)
    else:
        if mini:
            shrink(cfg)
        if data:
            use_data(cfg, data, eval_on)
        if epochs:
            set_epochs(cfg, epochs)
        if batch_size:
            cfg.train_dataloader.batch_size = batch_size
    if num_classes is not None:
        set_num_classes(cfg.model, num_classes)
    _check_keys(cfg, options or {})
    cfg.merge_from_dict(dict(options or {}))
    return cfg


def _read(path: str) -> Config:
    """Read a config file; whatever is wrong with it is a ValueError."""
    register_all_modules()
    try:
        cfg = Config.fromfile(path)
    except Exception as error:  # what the code in the file raises
        raise ValueError(
            f'{path} cannot be read as a config: {one_line(error)}'
        ) from error
    of_mmdet_2 = 'data' in cfg and 'train_dataloader' not in cfg
    if 'model' not in cfg or of_mmdet_2:
        older = 'it is of mmdet 2' if of_mmdet_2 else 'it has no model'
        raise ValueError(
            f'{path} is not a config of MMDetection 3.x: {older}; expected '
            'model, train_dataloader, ...'
        )
    return cfg


def _check_keys(cfg: Config, options: Mapping[str, Any]) -> None:
    """Refuse a new top-level key, which nothing would read."""
    known = {*cfg.keys(), *keys_that_are_read()}
    for option in options:
        key = option.partition('.')[0]
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f'; did you mean {near[0]}?' if near else ''
            raise ValueError(
                f'--cfg-options {option}: a config has no key {key!r}{hint}'
            )
