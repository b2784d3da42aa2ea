"""Where the priors of a model lie and how it codes boxes.

Weights say neither: under a config with other anchors, or with another coder,
a converted file loads and computes the same, but its boxes are displaced.
"""

from collections.abc import Sequence
from typing import Any

from mmdet.models.roi_heads.roi_extractors import BaseRoIExtractor
from mmdet.models.task_modules.coders import BaseBBoxCoder
from mmdet.registry import MODELS
from mmengine.registry import init_default_scope
from torch import nn

from ..utils import get_config


def geometry(model: nn.Module) -> dict[str, Any]:
    """What the boxes of a model depend on beside its weights.

    Args:
        model: A detector, not on the device ``meta``.

    Returns:
        dict: Name in the model -> priors of the first two cells of each
        level, the coder with its options, or the RoI layers.
    """
    return {
        f'{name}.{key}': described
        for name, module in model.named_modules()
        for key, value in vars(module).items()
        if (described := _describe(key, value)) is not None
    } | {
        name: _roi_layers(module)
        for name, module in model.named_modules()
        if isinstance(module, BaseRoIExtractor)
    }


def check_geometry(config: str, fitting: Sequence[str]) -> None:
    """Compare a config with those that the boxes of a file are right under.

    Args:
        config: Name or path of the config.
        fitting: Names of configs; one of them must have the same geometry.

    Raises:
        ValueError: None has; names them.
    """
    init_default_scope('mmdet')
    own, *known = (
        geometry(MODELS.build(get_config(name).model))
        for name in (config, *fitting)
    )
    if own in known:
        return
    differing = sorted(
        key
        for key in own.keys() | known[0].keys()
        if own.get(key) != known[0].get(key)
    )
    raise ValueError(
        f'under {config} the boxes would be displaced, it has another '
        f'{", ".join(differing)}; use {" or ".join(fitting)}, or a config '
        'that inherits it'
    )


def _describe(key: str, value: Any) -> Any:
    if hasattr(value, 'grid_priors'):
        levels = value.grid_priors([(1, 2)] * value.num_levels, device='cpu')
        return [level.tolist() for level in levels]
    if isinstance(value, BaseBBoxCoder):
        options = vars(value).items()
        return type(value).__name__, {k: _plain(v) for k, v in options}
    return (value or None) if key == 'inclusive_corners' else None


def _plain(option: Any) -> Any:
    return list(option) if isinstance(option, tuple) else option


def _roi_layers(extractor: nn.Module) -> list[str]:
    return [type(extractor).__name__, *map(str, extractor.roi_layers)]
