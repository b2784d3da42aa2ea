"""Heat maps of keypoint heads: what they should be, and what they are."""

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from mmdet.registry import TRANSFORMS
from mmengine.config import Config
from mmengine.dataset import Compose
from torch import Tensor, nn

from ..utils import leaf_datasets
from .detectors import Detector, evaluating
from .heads import dense_head, forward_head
from .images import load_image

EXTREME_POINTS = 'LoadExtremePoints'


@dataclass(frozen=True)
class ImageHeatmaps:
    """Heat maps of one image, in the scale of the network input.

    Attributes:
        name: Of the config.
        image: (h, w, 3), RGB uint8.
        boxes: (G, 4) x1, y1, x2, y2 in px.
        labels: (G,) classes.
        maps: Names of the M maps.
        targets: (M, C, H, W).
        predictions: (M, C, H, W) probabilities.
        points: (M, G, 2) x, y in px of what the peaks are.
        size: Height and width in px of what the maps cover.
        found: Detections, by descending score: ``bboxes`` (N, 4), ``scores``
            and ``labels`` (N,) and, where points make them,
            ``extreme_points`` (N, 4, 2).
        trained: Whether the weights come from a file.
    """

    name: str
    image: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    maps: tuple[str, ...]
    targets: np.ndarray
    predictions: np.ndarray
    points: np.ndarray
    size: tuple[int, int]
    found: dict[str, np.ndarray]
    trained: bool


def has_heatmaps(model: nn.Module) -> bool:
    """Whether a detector has a head that gives its heat maps."""
    return hasattr(dense_head(model), 'get_heatmaps')


@torch.no_grad()
def heatmaps_of(detector: Detector, info: dict[str, Any]) -> ImageHeatmaps:
    """Heat maps and detections of one image.

    Args:
        detector: Has a dense head with ``get_heatmaps``.
        info: Record of the image, see :mod:`.images`.

    Raises:
        ValueError: The file is not an image.
    """
    head: Any = dense_head(detector.model)
    data = load_image(detector.cfg, info)
    (sample,) = data['data_samples']
    points = extreme_points(detector.cfg, info, sample.metainfo)
    if points is not None:
        sample.gt_instances.extreme_points = points
    with evaluating(detector.model):
        run = forward_head(detector.model, data)
        (view,) = head.get_heatmaps(run.outs, run.gts, run.metas)
        metas = [
            {k: v for k, v in meta.items() if k != 'border'}
            for meta in run.metas
        ]  # boxes stay where they are in the input
        (found,) = head.predict_by_feat(
            *run.outs, batch_img_metas=metas, rescale=False
        )
    return ImageHeatmaps(
        name=detector.name,
        image=data['inputs'][0].permute(1, 2, 0).numpy()[..., ::-1],
        boxes=sample.gt_instances.bboxes.tensor.numpy(),
        labels=sample.gt_instances.labels.numpy(),
        maps=view.names,
        targets=view.targets.cpu().numpy(),
        predictions=view.predictions.cpu().numpy(),
        points=view.points.cpu().numpy(),
        size=tuple(run.metas[0]['batch_input_shape']),
        found={
            key: value.cpu().numpy()
            for key, value in found.items()
            if isinstance(value, Tensor)
        },
        trained=detector.checkpoint is not None,
    )


def extreme_points(
    cfg: Config, info: dict[str, Any], meta: dict[str, Any]
) -> Tensor | None:
    """Extreme points (G, 4, 2) in px of the input, if a config trains on them.

    Args:
        cfg: Config of the detector.
        info: Record of the image.
        meta: Of the loaded image: scale and place in the input.
    """
    _, dataset = next(leaf_datasets(cfg.train_dataloader))
    for step in dataset['pipeline']:
        if step['type'] == EXTREME_POINTS:
            # all objects are drawn, also those that training skips
            step = step | dict(missing='midpoints')
            load = dict(type='LoadAnnotations', with_bbox=True)
            steps = [dict(type='LoadImageFromFile'), load, step]
            pipeline = Compose([TRANSFORMS.build(dict(s)) for s in steps])
            results = pipeline(copy.deepcopy(info))
            points = results['gt_extreme_points']
            points = points[~torch.from_numpy(results['gt_ignore_flags'])]
            scale = points.new_tensor(meta.get('scale_factor', (1, 1)))
            top, _, left, _ = meta.get('border', (0, 0, 0, 0))
            return points * scale + points.new_tensor((left, top))
    return None
