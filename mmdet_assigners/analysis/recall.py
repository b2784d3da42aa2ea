"""Recall and ambiguity of what a detector assigns.

Only sizes and objects of the annotation file are used, no images and no
weights: the network runs once, on a small blank image, to learn the shapes of
its outputs; then the head assigns with outputs that are zero everywhere.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from mmdet.registry import TRANSFORMS
from mmdet.structures.bbox import HorizontalBoxes
from mmdet.utils import InstanceList
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.structures import InstanceData
from torch import Tensor, nn

from ..datasets.roots import Split
from ..utils import inference_pipeline, type_name
from .adapters import HeadRun, find_adapter
from .detectors import Detector, tensors_in
from .heads import dense_head
from .images import read_images
from .recall_rules import Counts, count_priors, level_shapes

_PROBE = 256
_MAX_ELEMENTS = 2**26


def count(
    detector: Detector, split: Split, limit: int = 0, ambiguity: bool = True
) -> Counts:
    """Count the objects that get a prior, and the ambiguous priors.

    An object is recalled if a prior is assigned to it. A positive prior is
    ambiguous if more than one object of the image, taken alone, would get
    it. For FCOS these are the paper's definitions.

    Args:
        detector: Has a dense head; its weights don't matter.
        split: Its annotation file and classes; no image is read.
        limit: Maximum number of images, 0: all.
        ambiguity: Count ambiguous priors, which takes one assignment per
            object.

    Returns:
        Counts: Sums over the images.

    Raises:
        TypeError: The detector has no dense head, or the head no adapter.
    """
    counter = _Counter(detector.model, ambiguity)
    images = read_objects(detector.cfg, split, limit)
    return sum(map(counter.count, images), Counts())


class ImageObjects(NamedTuple):
    """Objects of one image in px of the network input.

    Attributes:
        objects: ``bboxes`` (G, 4) and ``labels`` (G,).
        ignored: ``bboxes`` (N, 4) and ``labels`` (N,) of ignored regions.
        shape: Height and width of the resized image.
    """

    objects: InstanceData
    ignored: InstanceData
    shape: tuple[int, int]


def read_objects(
    cfg: Config, split: Split, limit: int = 0
) -> Iterator[ImageObjects]:
    """Objects of the images, resized as the test pipeline does.

    Args:
        cfg: Config whose pipeline resizes, see `inference_pipeline`.
        split: Its annotation file and classes; no image is read.
        limit: Maximum number of images, 0: all.

    Yields:
        ImageObjects: One per image, also of images without objects.
    """
    pipeline = Compose(
        [
            TRANSFORMS.build(dict(step))
            for step in inference_pipeline(cfg)
            if not type_name(step).startswith(('Load', 'Pack'))
        ]
    )
    for info in read_images(split, limit):
        yield _resize(pipeline, info)


def _resize(pipeline: Compose, info: dict[str, Any]) -> ImageObjects:
    shape = (info['height'], info['width'])
    boxes = [entry['bbox'] for entry in info['instances']]
    labels = [entry['bbox_label'] for entry in info['instances']]
    ignored = [entry['ignore_flag'] for entry in info['instances']]
    result = pipeline(
        info
        | dict(
            img=np.zeros((*shape, 3), np.uint8),
            img_shape=shape,
            ori_shape=shape,
            gt_bboxes=HorizontalBoxes(np.float32(boxes).reshape(-1, 4)),
            gt_bboxes_labels=np.int64(labels),
            gt_ignore_flags=np.bool_(ignored),
        )
    )
    tensor = result['gt_bboxes'].tensor
    crowd = torch.from_numpy(result['gt_ignore_flags']).bool()
    label = torch.from_numpy(result['gt_bboxes_labels'])
    return ImageObjects(
        InstanceData(bboxes=tensor[~crowd], labels=label[~crowd]),
        InstanceData(bboxes=tensor[crowd], labels=label[crowd]),
        tuple(result['img_shape'][:2]),
    )


class _Counter:
    """Counts image by image; keeps the structure of the head's outputs."""

    def __init__(self, model: nn.Module, ambiguity: bool) -> None:
        self.ambiguity = ambiguity
        self.head: Any = dense_head(model)
        self.adapter = find_adapter(self.head)
        divisor = getattr(model.data_preprocessor, 'pad_size_divisor', 1)
        self._divisor = max(1, divisor)
        parameter = next(model.parameters())
        probe = parameter.new_zeros(1, 3, _PROBE, _PROBE)
        with torch.no_grad():
            self._feats = model.extract_feat(probe)
            self._outs = self.head(self._feats)

    def count(self, image: ImageObjects) -> Counts:
        objects = image.objects
        if not len(objects):
            return Counts()
        gt = self._assign(image, [objects])[0]
        mask = torch.ones(1, len(objects), dtype=torch.bool)
        if not self.ambiguity:
            return count_priors(gt[None], mask)
        # of the objects that would get a prior: their number, and the
        # smallest and largest label, which differ if the classes do
        candidates = torch.zeros_like(gt)
        highest = torch.full_like(gt, -1)
        lowest = torch.full_like(gt, torch.iinfo(gt.dtype).max)
        for part in torch.arange(len(objects)).split(self._batch(image)):
            alone = self._assign(image, [objects[[int(i)]] for i in part])
            for index, own in zip(part, alone, strict=True):
                label = objects.labels[index]
                candidates += own >= 0
                highest = highest.where(own < 0, highest.clamp(min=label))
                lowest = lowest.where(own < 0, lowest.clamp(max=label))
        mixed = lowest < highest
        return count_priors(gt[None], mask, candidates[None], mixed[None])

    @torch.no_grad()
    def _assign(
        self, image: ImageObjects, objects: InstanceList
    ) -> list[Tensor]:
        """Assigned object (P,) for each of several sets of objects."""
        height, width = (
            -(-side // self._divisor) * self._divisor for side in image.shape
        )
        meta = dict(
            img_shape=image.shape,
            ori_shape=image.shape,
            pad_shape=(height, width),
            batch_input_shape=(height, width),
            scale_factor=(1.0, 1.0),
        )
        batch = len(objects)
        run = HeadRun(
            self._blank(self._outs, batch, (height, width)),
            list(objects),
            [dict(meta) for _ in objects],
            [image.ignored for _ in objects],
            self._blank(self._feats, batch, (height, width)),
        )
        results = self.adapter.read(self.head, run)
        return [result.assigned_gt for result in results]

    def _batch(self, image: ImageObjects) -> int:
        """Number of sets at a time that bounds the size of the outputs."""
        height, width = image.shape
        area = height * width / _PROBE**2
        elements = sum(x.numel() for x in tensors_in(self._outs)) * area
        return max(1, int(_MAX_ELEMENTS / max(1, elements)))

    def _blank(self, node: Any, batch: int, shape: tuple[int, int]) -> Any:
        """The same structure, with zeros of the size of an image."""
        if isinstance(node, Tensor) and node.dim() == 4:
            stride = _PROBE // node.shape[-1]
            (size,) = level_shapes(shape, [stride])
            if self.adapter.uses_predictions:  # some change them in place
                return node.new_zeros(batch, node.shape[1], *size)
            return node.new_zeros(1).expand(batch, node.shape[1], *size)
        if isinstance(node, list | tuple):
            return type(node)(self._blank(n, batch, shape) for n in node)
        return node
