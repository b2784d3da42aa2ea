"""Parameters and multiply-adds of detectors.

One forward pass of one image without post-processing is counted; of a
two-stage detector with as many proposals as it keeps in a test (1000 if they
are given), and the masks of 100. A multiply-add counts once. Counted are, by
``mmengine.analysis`` and by the handlers here:

- convolutions and matrix products, without their biases;
- normalizations, as ``mmengine.analysis`` counts them;
- bilinear sampling and resizing: 4 for each value sampled, also of RoIAlign
  (4 samples a bin if its config lets the size of the RoI decide),
  BorderAlign, mmcv's deformable RoI pooling and deformable convolutions;
- our deformable RoI pooling: 1 for each cell that a bin reads, because
  samples of a bin share cells.

Other products of two maps, e.g. of a modulated deformable convolution with its
mask, are not counted.
"""

import contextlib
import copy
import functools
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from mmdet.models.roi_heads import CascadeRoIHead, HybridTaskCascadeRoIHead
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import bbox2roi
from mmengine.analysis import FlopAnalyzer, parameter_count
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData
from torch import Tensor, nn

from ..small_scale import drop_pretrained
from .detectors import evaluating

SHAPE = (800, 1280)
_PROPOSALS = 1000
_ADAPTIVE_SAMPLES = 2  # per axis of a bin
_BILINEAR = 4
_MASKS = 100
_CASCADES = (CascadeRoIHead.forward, HybridTaskCascadeRoIHead.forward)


@dataclass(frozen=True)
class Complexity:
    """What was counted of a detector.

    Attributes:
        parameters: Number of parameters.
        flops: Multiply-adds for one image.
        by_operator: Name of an operator -> its multiply-adds.
        not_counted: Name of an operator without a count -> its calls. Most
            have no products, e.g. ``aten::add``.
    """

    parameters: int
    flops: int
    by_operator: Counter[str]
    not_counted: Counter[str]


def count_config(cfg: Config, shape: tuple[int, int] = SHAPE) -> Complexity:
    """Count the detector of a config, see :func:`count`.

    Args:
        cfg: The config.
        shape: Height and width of the image in pixels.
    """
    init_default_scope(cfg.get('default_scope', 'mmdet'))
    model_cfg = copy.deepcopy(cfg.model)
    drop_pretrained(model_cfg)
    return count(MODELS.build(model_cfg), shape)


def count(model: nn.Module, shape: tuple[int, int] = SHAPE) -> Complexity:
    """Count parameters and multiply-adds of a detector.

    Args:
        model: The detector; one with a RoI head gets fixed proposals.
        shape: Height and width of the image in pixels.

    Raises:
        ValueError: The detector can't process an image of this shape.
    """
    try:
        with fixed_input(model, shape) as image, torch.no_grad():
            analyzer = FlopAnalyzer(model, (image,))
            analyzer.set_op_handle(**_HANDLERS)
            analyzer.unsupported_ops_warnings(False)
            analyzer.uncalled_modules_warnings(False)
            analyzer.tracer_warnings('none')
            by_operator = analyzer.by_operator()
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f'an image of shape {shape} cannot be counted: {error}'
        ) from error
    return Complexity(
        parameters=int(parameter_count(model)['']),
        flops=int(sum(by_operator.values())),
        by_operator=Counter(by_operator),
        not_counted=analyzer.unsupported_ops(),
    )


@contextlib.contextmanager
def fixed_input(model: nn.Module, shape: tuple[int, int]) -> Iterator[Tensor]:
    """In the ``with`` block the detector takes an image alone.

    It is in evaluation mode. All else that it needs is fixed, proposals among
    it: with random weights an RPN would keep a random number of them.

    Args:
        model: The detector.
        shape: Height and width of the image in pixels.

    Yields:
        Tensor: (1, 3, H, W) on the device of the detector.
    """
    device = next(model.parameters()).device
    test_cfg = getattr(model, 'test_cfg', None) or {}
    number = (test_cfg.get('rpn') or {}).get('max_per_img', _PROPOSALS)
    proposals = _proposals(number, shape).to(device)
    sample = DetDataSample(
        proposals=proposals,
        metainfo=dict(
            img_shape=shape,
            ori_shape=shape,
            pad_shape=shape,
            batch_input_shape=shape,
            scale_factor=(1.0, 1.0),
        ),
    )
    rpn = getattr(model, 'rpn_head', None)
    heads = [
        module
        for module in (rpn.modules() if rpn is not None else ())
        if hasattr(module, 'predict_by_feat')
    ]
    for head in heads:
        head.predict_by_feat = functools.partial(_propose, proposals)
    forward = model.forward
    model.forward = functools.partial(forward, data_samples=[sample])
    roi_head: Any = getattr(model, 'roi_head', None)
    forward_ = getattr(type(roi_head), 'forward', None)
    cascade = forward_ in _CASCADES and roi_head.with_mask
    if cascade:
        roi_head.forward = functools.partial(_cascade_forward, roi_head)
    try:
        with evaluating(model):
            yield torch.zeros(1, 3, *shape, device=device)
    finally:
        del model.forward
        if cascade:
            del roi_head.forward
        for head in heads:
            del head.predict_by_feat


def _propose(
    proposals: InstanceData, *maps: Any, **further: Any
) -> list[InstanceData]:
    """Fixed proposals, to which the maps of an RPN add nothing.

    A trace leaves out what its outputs don't depend on.
    """
    nothing = sum(
        0 * one.sum() for one in _tensors([*maps, *further.values()])
    )
    return [
        InstanceData(
            bboxes=proposals.bboxes + nothing,
            scores=proposals.scores,
            labels=proposals.labels,
        )
    ]


def _tensors(node: Any) -> Iterator[Tensor]:
    """The tensors in lists and tuples at any depth."""
    if isinstance(node, Tensor):
        yield node
    elif isinstance(node, list | tuple):
        for one in node:
            yield from _tensors(one)


def _cascade_forward(
    head: CascadeRoIHead,
    x: Sequence[Tensor],
    proposals: list[InstanceData],
    samples: list[DetDataSample],
) -> tuple:
    """A mask cascade with the masks of 100 RoIs, as StandardRoIHead has.

    That of mmdet computes those of all proposals, and turns them into arrays,
    which a trace doesn't follow.
    """
    semantic: list[Tensor] = []
    hook = None
    if getattr(head, 'with_semantic', False):
        hook = head.semantic_head.register_forward_hook(
            lambda _, __, out: semantic.append(out[1])
        )
    masks, head.mask_head = head.mask_head, None
    try:
        boxes = type(head).forward(head, x, proposals, samples)
    finally:
        head.mask_head = masks
        if hook:
            hook.remove()
    rois = bbox2roi([one.bboxes[:_MASKS] for one in proposals])
    if isinstance(head, HybridTaskCascadeRoIHead):
        found = head._mask_forward(
            -1, x, rois, semantic[0] if semantic else None, training=False
        )
        return boxes, found['mask_preds']
    return boxes, [
        head._mask_forward(stage, x, rois)['mask_preds']
        for stage in range(head.num_stages)
    ]


def _proposals(number: int, shape: tuple[int, int]) -> InstanceData:
    """Boxes (N, 4) of sides from 32 pixels to the image, spread over it."""
    steps = torch.linspace(0, 1, number)
    # two irrational steps fill a square evenly
    places = torch.arange(number)[:, None] * torch.tensor([0.7549, 0.5698])
    sides = 32 * (min(shape) / 32) ** steps[:, None].expand(-1, 2)
    size = torch.tensor([shape[1], shape[0]])
    start = places % 1 * (size - sides)
    return InstanceData(
        bboxes=torch.cat((start, start + sides), 1),
        scores=1 - steps,
        labels=torch.zeros(number, dtype=torch.long),
    )


def _shape(value: Any) -> list[int]:
    """Shape of a value of the traced graph."""
    return value.type().sizes()


def _deform_conv(inputs: list[Any], outputs: list[Any], weight: int) -> int:
    """``conv(x, offset, [mask,] weight)``, the weight at this place."""
    out = _shape(outputs[0])
    kernel = _shape(inputs[weight])
    cells = out[0] * math.prod(out[2:])
    samples = cells * _shape(inputs[0])[1] * math.prod(kernel[2:])
    return cells * math.prod(kernel) + _BILINEAR * samples


def _roi_pool(inputs: list[Any], outputs: list[Any]) -> int:
    """``pool(x, rois, [offset,] output_size, scale, sampling_ratio, ...)``."""
    ratio = outputs[0].node().scalar_args()[2] or _ADAPTIVE_SAMPLES
    return math.prod(_shape(outputs[0])) * ratio**2 * _BILINEAR


def _border_align(inputs: list[Any], outputs: list[Any]) -> int:
    """``border_align(x, boxes, pool_size, ...)``, pool_size + 1 samples."""
    samples = inputs[2].toIValue() + 1
    return math.prod(_shape(outputs[0])) * samples * _BILINEAR


def _embedding_bag(inputs: list[Any], outputs: list[Any]) -> int:
    """``embedding_bag(rows, indices, ...)``, a weighted sum of rows."""
    return math.prod(_shape(inputs[1])) * _shape(inputs[0])[1]


_HANDLERS: dict[str, Callable[[list[Any], list[Any]], int]] = {
    'aten::embedding_bag': _embedding_bag,
    'mmdet_assigners::border_align': _border_align,
    'prim::PythonOp.DeformConv2dFunction': functools.partial(
        _deform_conv, weight=2
    ),
    'prim::PythonOp.DeformRoIPoolFunction': _roi_pool,
    'prim::PythonOp.ModulatedDeformConv2dFunction': functools.partial(
        _deform_conv, weight=3
    ),
    'prim::PythonOp.RoIAlignFunction': _roi_pool,
}
