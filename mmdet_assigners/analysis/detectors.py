"""A config, ready to assign the priors of images."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from torch import nn

from .adapters import Adapter, find_adapter
from .assignment import dense_head, read_assignment, run_head
from .rows import AssignmentRow
from .samples import build_model, load_sample


@dataclass
class Method:
    """A detector and what is said about it.

    Attributes:
        title: Name of the config.
        subtitle: Head, assigner and weights.
        cfg: The config, for its test pipeline.
        model: The detector.
        untrained: The assignment depends on predictions of random weights.
    """

    title: str
    subtitle: str
    cfg: Config
    model: nn.Module
    untrained: bool

    def assign(self, info: dict[str, Any]) -> tuple[AssignmentRow, float]:
        """Assign the priors of one image.

        Args:
            info: Record of the image, see :func:`samples.find_image`.

        Returns:
            The assignment, and the seconds that it took, without the network.
        """
        data = load_sample(self.cfg, info)
        head, run = run_head(self.model, data)
        device = next(self.model.parameters()).device
        _wait(device)
        start = time.perf_counter()
        result = read_assignment(head, run)[0]
        _wait(device)
        seconds = time.perf_counter() - start
        result = result.cpu().numpy()
        sample = data['data_samples'][0]
        objects, ignored = sample.gt_instances, sample.ignored_instances
        row = AssignmentRow(
            title=self.title,
            subtitle=self.subtitle,
            image=data['inputs'][0].permute(1, 2, 0).numpy()[..., ::-1],
            boxes=objects.bboxes.tensor.numpy(),
            labels=objects.labels.numpy(),
            ignored_boxes=ignored.bboxes.tensor.numpy(),
            **{key: result.get(key) for key in result.keys()},
        )
        return row, seconds


def _wait(device: torch.device) -> None:
    if device.type == 'cuda':
        torch.cuda.synchronize(device)


def load_method(
    title: str,
    cfg: Config,
    checkpoint: str | Path | None = None,
    seed: int = 0,
    device: str = 'cpu',
) -> Method:
    """Build the detector of a config.

    Args:
        title: Name of the config.
        cfg: The config.
        checkpoint: Weights; random ones if None.
        seed: For random weights.
        device: Where the detector runs.

    Raises:
        TypeError: The detector has no dense head, or that has no adapter.
        ValueError: The checkpoint doesn't fit.
    """
    model = build_model(cfg, checkpoint, seed).to(device)
    head = dense_head(model)
    adapter = find_adapter(head)
    return Method(
        title,
        _subtitle(head, adapter, checkpoint),
        cfg,
        model,
        adapter.uses_predictions and checkpoint is None,
    )


def _subtitle(
    head: Any, adapter: Adapter, checkpoint: str | Path | None
) -> str:
    parts = [type(head).__name__]
    assigner = getattr(head, 'alignment_assigner', None)  # of TOOD
    assigner = assigner or getattr(head, 'assigner', None)
    # FreeAnchor has one that it never calls
    targets = {'get_targets', '_get_targets_single'}
    calls_it = not adapter.relies_on or targets & adapter.relies_on
    if assigner is not None and calls_it:
        parts.append(type(assigner).__name__)
    if adapter.uses_predictions:
        parts.append(
            'by the predictions of '
            + (Path(checkpoint).name if checkpoint else 'an UNTRAINED network')
        )
    return ' · '.join(parts)
