"""Recall and ambiguity of what the head of a config assigns.

Only sizes and objects of the annotation file are used, no images and no
weights: the network runs once, on a small blank image, to learn the shapes
of its outputs; the head then assigns with outputs that are zero everywhere.
"""

import contextlib
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmdet.datasets import CocoDataset
from mmdet.registry import TRANSFORMS
from mmdet.structures.bbox import HorizontalBoxes
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.structures import InstanceData
from torch import Tensor, nn

from ..datasets.roots import read_annotations
from .adapters import Adapter, HeadRun, find_adapter
from .assignment import dense_head
from .recall_rules import Counts, count_priors, level_shapes
from .samples import build_model

_PROBE = 256
_MAX_ELEMENTS = 2**26


@dataclass(frozen=True)
class Sample:
    """Objects of one image in pixels of the network's input.

    Attributes:
        objects: ``bboxes`` (G, 4) and ``labels`` (G,).
        ignored: ``bboxes`` of ignored regions.
        shape: Height and width of the resized image.
    """

    objects: InstanceData
    ignored: InstanceData
    shape: tuple[int, int]


def read_classes(ann_file: str | Path) -> tuple[str, ...]:
    """Class names of a COCO annotation file, in its order.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It isn't COCO format.
    """
    if not Path(ann_file).is_file():
        raise FileNotFoundError(f'there is no annotation file {ann_file}')
    content = read_annotations(Path(ann_file))
    return tuple(c['name'] for c in content['categories'])


def read_samples(
    cfg: Config, ann_file: str | Path, limit: int = 0
) -> Iterator[Sample]:
    """Objects of all images, resized as the test pipeline does.

    Args:
        cfg: Config with a ``test_dataloader``.
        ann_file: COCO annotation file.
        limit: Only the first images; 0 means all.

    Yields:
        Sample: One per image, those without objects too.
    """
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools chatters
        dataset = CocoDataset(
            ann_file=str(ann_file),
            data_prefix=dict(img=''),
            metainfo=dict(classes=read_classes(ann_file)),
            test_mode=True,  # keeps images without objects
            pipeline=[],
        )
    pipeline = Compose(
        [
            TRANSFORMS.build(dict(step))
            for step in cfg.test_dataloader.dataset.pipeline
            if not str(step['type']).startswith(('Load', 'Pack'))
        ]
    )
    for index in range(len(dataset))[: limit or None]:
        yield _resize(pipeline, dataset.get_data_info(index))


def _resize(pipeline: Compose, info: dict[str, Any]) -> Sample:
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
    return Sample(
        InstanceData(bboxes=tensor[~crowd], labels=label[~crowd]),
        InstanceData(bboxes=tensor[crowd], labels=label[crowd]),
        tuple(result['img_shape'][:2]),
    )


class AssignmentCounter:
    """Counts what the dense head of a config assigns.

    An object is recalled if a prior is assigned to it. A positive prior is
    ambiguous if more than one object of the image, taken alone, would get
    it. For FCOS these are the paper's definitions.

    Args:
        cfg: Config with a ``model``.
        ambiguity: Count ambiguous priors, which takes one assignment per
            object.

    Raises:
        TypeError: The model has no dense head, or it has no adapter.
    """

    def __init__(self, cfg: Config, ambiguity: bool = True) -> None:
        self.ambiguity = ambiguity
        model = build_model(cfg)
        self.head: Any = dense_head(model)
        self.adapter: Adapter = find_adapter(self.head)
        divisor = getattr(model.data_preprocessor, 'pad_size_divisor', 1)
        self._divisor = max(1, divisor)
        with torch.no_grad():
            self._feats = _extract(model)
            self._outs = self.head(self._feats)

    @property
    def uses_predictions(self) -> bool:
        """Whether the assignment would differ after training."""
        return self.adapter.uses_predictions

    def count_all(self, samples: Iterable[Sample]) -> Counts:
        """Count several images."""
        return sum((self.count(sample) for sample in samples), Counts())

    def count(self, sample: Sample) -> Counts:
        """Count one image."""
        objects = sample.objects
        if not len(objects):
            return Counts()
        gt = self._assign(sample, [objects])[0]
        mask = torch.ones(1, len(objects), dtype=torch.bool)
        if not self.ambiguity:
            return count_priors(gt[None], mask)
        count = torch.zeros_like(gt)
        most = torch.full_like(gt, -1)
        least = torch.full_like(gt, torch.iinfo(gt.dtype).max)
        for part in torch.arange(len(objects)).split(self._batch(sample)):
            alone = self._assign(sample, [objects[[int(i)]] for i in part])
            for index, own in zip(part, alone, strict=True):
                label = objects.labels[index]
                count += own >= 0
                most = torch.where(own >= 0, most.clamp(min=label), most)
                least = torch.where(own >= 0, least.clamp(max=label), least)
        return count_priors(gt[None], mask, count[None], (least < most)[None])

    @torch.no_grad()
    def _assign(
        self, sample: Sample, objects: Sequence[InstanceData]
    ) -> list[Tensor]:
        """Index of the object (P,) for each of several sets of objects."""
        height, width = (
            -(-side // self._divisor) * self._divisor for side in sample.shape
        )
        meta = dict(
            img_shape=sample.shape,
            ori_shape=sample.shape,
            pad_shape=(height, width),
            batch_input_shape=(height, width),
            scale_factor=(1.0, 1.0),
        )
        batch = len(objects)
        run = HeadRun(
            self._blank(self._outs, batch, (height, width)),
            list(objects),
            [dict(meta) for _ in objects],
            [sample.ignored for _ in objects],
            self._blank(self._feats, batch, (height, width)),
        )
        results = self.adapter.read(self.head, run)
        return [result.assigned_gt for result in results]

    def _batch(self, sample: Sample) -> int:
        """Images at a time, such that the outputs stay bounded."""
        height, width = sample.shape
        area = height * width / _PROBE**2
        elements = sum(x.numel() for x in _tensors(self._outs)) * area
        return max(1, int(_MAX_ELEMENTS / max(1, elements)))

    def _blank(self, node: Any, batch: int, shape: tuple[int, int]) -> Any:
        """The same structure with zeros of the size of an image."""
        if isinstance(node, Tensor) and node.dim() == 4:
            stride = _PROBE // node.shape[-1]
            (size,) = level_shapes(shape, [stride])
            if self.uses_predictions:  # some heads change them in place
                return node.new_zeros(batch, node.shape[1], *size)
            return node.new_zeros(1).expand(batch, node.shape[1], *size)
        if isinstance(node, list | tuple):
            return type(node)(self._blank(n, batch, shape) for n in node)
        return node


def _extract(model: nn.Module) -> Any:
    parameter = next(model.parameters())
    return model.extract_feat(parameter.new_zeros(1, 3, _PROBE, _PROBE))


def _tensors(node: Any) -> Iterator[Tensor]:
    if isinstance(node, Tensor):
        yield node
    elif isinstance(node, list | tuple):
        for child in node:
            yield from _tensors(child)
