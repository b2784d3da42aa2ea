"""Detectors, built from configs the way the analyses need them."""

import contextlib
import copy
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..diagnostics.checkpoints import check_weights
from ..small_scale import drop_pretrained, load_config


@dataclass(frozen=True)
class Detector:
    """A detector and the config that it was built from.

    Attributes:
        name: Name of the config.
        cfg: The config; its test pipeline loads the images.
        model: The detector, in training mode.
        checkpoint: File of its weights; None means random weights.
    """

    name: str
    cfg: Config
    model: nn.Module
    checkpoint: Path | None = None

    @property
    def device(self) -> torch.device:
        """Where the detector runs."""
        return next(self.model.parameters()).device


def load_detector(
    config: str,
    checkpoint: str | Path | None = None,
    *,
    num_classes: int | None = None,
    mini: bool = False,
    options: Mapping[str, Any] | None = None,
    seed: int = 0,
    device: str = 'cpu',
) -> Detector:
    """Build the detector of a config.

    Args:
        config: Name of our config, ``mmdet::name``, or a path.
        checkpoint: File of its weights; random weights if None.
        num_classes: Number of classes of the data; by default the config's.
        mini: Use the small-scale form of the config.
        options: Changes of the config, dotted key -> value.
        seed: Seed of random weights.
        device: Where the detector runs.

    Raises:
        FileNotFoundError: No such config.
        ValueError: The checkpoint doesn't fit.
    """
    cfg = load_config(config, mini, num_classes=num_classes, options=options)
    model = build_model(cfg, checkpoint, seed).to(device)
    path = None if checkpoint is None else Path(checkpoint)
    return Detector(Path(cfg.filename).stem, cfg, model, path)


def build_model(
    cfg: Config, checkpoint: str | Path | None = None, seed: int = 0
) -> nn.Module:
    """Build the model of a config, without pre-trained weights.

    It is in training mode, as when labels are assigned; with a checkpoint,
    batch normalization uses the statistics of the checkpoint.

    Args:
        cfg: Config with a ``model``.
        checkpoint: File of its weights; random weights if None.
        seed: Seed of random weights.

    Raises:
        ValueError: The checkpoint doesn't fit.
    """
    init_default_scope(cfg.get('default_scope', 'mmdet'))
    torch.manual_seed(seed)
    model_cfg = copy.deepcopy(cfg.model)
    drop_pretrained(model_cfg)
    model = MODELS.build(model_cfg)
    model.train()
    if checkpoint is None:
        with quiet():
            model.init_weights()
        return model
    model.load_state_dict(check_weights(model, checkpoint), strict=False)
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.eval()
    return model


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode inside the ``with`` block; modes are restored."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training


@contextlib.contextmanager
def quiet(level: int = logging.WARNING) -> Iterator[None]:
    """Silence mmengine, which logs how each parameter was initialized.

    Args:
        level: Of the messages that are still logged.
    """
    logger = MMLogger.get_current_instance()
    before = logger.level
    logger.setLevel(level)
    try:
        yield
    finally:
        logger.setLevel(before)


def tensors_in(node: Any) -> Iterator[Tensor]:
    """The tensors (...) in nested tuples, lists and dicts, in order."""
    if isinstance(node, Tensor):
        yield node
    elif isinstance(node, dict | list | tuple):
        for child in node.values() if isinstance(node, dict) else node:
            yield from tensors_in(child)
