"""Forward passes of the stages of DSC."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from mmdet.models.roi_heads import HybridTaskCascadeRoIHead
from mmdet.models.roi_heads.roi_extractors import BaseRoIExtractor
from mmdet.registry import MODELS
from mmdet.structures.bbox import get_box_tensor
from mmdet.utils import ConfigType
from mmengine.model import ModuleList
from torch import Tensor

from .functional import clip_rois, enlarge


class Inputs(NamedTuple):
    """What a stage looks at.

    Attributes:
        x: Feature maps (B, channels, H_l, W_l).
        semantic_feat: (B, channels, H, W), None without a semantic head.
        metas: Meta information of B images.
    """

    x: Sequence[Tensor]
    semantic_feat: Tensor | None
    metas: list[dict]


class Shape(NamedTuple):
    """What a stage knows about the shapes of N RoIs.

    Attributes:
        logits: (N, 1, S, S) of the masks.
        feats: (N, channels, s, s) features of the mask head.
        frames: (N, 5) enlarged RoIs, in which both are.
    """

    logits: Tensor
    feats: Tensor
    frames: Tensor

    def take(self, rows: Tensor) -> 'Shape':
        """Those of RoIs (M,) by their rows, int64."""
        return Shape(*(value[rows] for value in self))


class ShapeCascadeRoIHead(HybridTaskCascadeRoIHead):
    """The parts of a ``DSCRoIHead`` and what each computes.

    Takes the arguments of ``DSCRoIHead``.
    """

    def __init__(
        self,
        mpn_roi_extractor: ConfigType,
        mpn: Sequence[ConfigType],
        relative_roi_extractor: ConfigType,
        num_stages: int = 3,
        stage_loss_weights: Sequence[float] = (1.0, 1.0, 1.0),
        enlarge_ratios: Sequence[float] = (2.0, 1.59, 1.26, 1.0),
        num_score_stages: int = 2,
        clip: bool = False,
        **kwargs: Any,
    ) -> None:
        for name, given in (
            ('mpn', mpn),
            ('stage_loss_weights', stage_loss_weights),
        ):
            if len(given) != num_stages:
                raise ValueError(
                    f'{name} must have num_stages={num_stages} entries, got '
                    f'{len(given)}'
                )
        if len(enlarge_ratios) != num_stages + 1 or min(enlarge_ratios) <= 0:
            raise ValueError(
                f'enlarge_ratios must be {num_stages + 1} positive numbers, '
                f'got {tuple(enlarge_ratios)}'
            )
        if not 1 <= num_score_stages <= num_stages:
            raise ValueError(
                f'num_score_stages must be 1 to {num_stages}, got '
                f'{num_score_stages}'
            )
        super().__init__(
            num_stages=num_stages,
            stage_loss_weights=list(stage_loss_weights),
            **kwargs,
        )
        self.enlarge_ratios = tuple(enlarge_ratios)
        self.num_score_stages = num_score_stages
        self.clip = clip
        self.relative_roi_extractor = MODELS.build(relative_roi_extractor)
        self.mpn_roi_extractor = ModuleList(
            MODELS.build(mpn_roi_extractor) for _ in mpn
        )
        self.mpn = ModuleList(MODELS.build(head) for head in mpn)

    def init_mask_head(
        self, mask_roi_extractor: ConfigType, mask_head: ConfigType
    ) -> None:
        """Build the final mask head.

        Args:
            mask_roi_extractor: Its features.
            mask_head: The head.
        """
        self.mask_roi_extractor = MODELS.build(mask_roi_extractor)
        self.mask_head = MODELS.build(mask_head)

    def init_assigner_sampler(self) -> None:
        """Build the assigner and sampler of each stage and of the masks."""
        if self.train_cfg is None:
            super().init_assigner_sampler()
            return
        stages = self.num_stages + 1
        cfg = self.train_cfg
        if not isinstance(cfg, list) or len(cfg) != stages:
            raise ValueError(
                f'train_cfg.rcnn of {type(self).__name__} must be a list of '
                f'{stages}: the stages and the final masks'
            )
        super().init_assigner_sampler()
        for stage, sampler in enumerate(self.bbox_sampler[1:], 1):
            if getattr(sampler, 'add_gt_as_proposals', False):
                raise ValueError(
                    f'train_cfg.rcnn[{stage}].sampler.add_gt_as_proposals '
                    'must be False: the RoIs are those of the first stage'
                )

    def _features(
        self,
        task: str,
        extractor: BaseRoIExtractor,
        inputs: Inputs,
        rois: Tensor,
        frames: Tensor,
        **guide: Tensor,
    ) -> Tensor:
        """Features (N, channels, height, width).

        Args:
            task: 'bbox' or 'mask'.
            extractor: Of the task.
            inputs: Of the batch.
            rois: (N, 5), where semantic features are taken.
            frames: (N, 5) enlarged RoIs.
            **guide: ``masks`` of a ``ShapeGuidedRoIExtractor``.
        """
        feats = extractor(inputs.x[: extractor.num_inputs], frames, **guide)
        semantic = inputs.semantic_feat
        if semantic is None or task not in self.semantic_fusion:
            return feats
        semantic = self.semantic_roi_extractor([semantic], rois)
        return feats + F.adaptive_avg_pool2d(semantic, feats.shape[-2:])

    def _frames(
        self, stage: int, inputs: Inputs, rois: Tensor, shape: Shape | None
    ) -> Tensor:
        """The enlarged RoIs (N, 5) of a stage."""
        frames = enlarge(rois, self.enlarge_ratios[stage])
        if not self.clip:
            return frames
        sizes = [meta['img_shape'][1::-1] for meta in inputs.metas]
        high = rois.new_tensor(sizes)[rois[:, 0].long()]
        frames = clip_rois(frames, torch.zeros_like(high), high)
        if shape is None:
            return frames
        return clip_rois(frames, shape.frames[:, 1:3], shape.frames[:, 3:])

    def _propose_masks(
        self, stage: int, inputs: Inputs, rois: Tensor, shape: Shape | None
    ) -> Shape:
        """Shapes of a stage from those of the previous one."""
        frames = self._frames(stage, inputs, rois, shape)
        extractor = self.mpn_roi_extractor[stage]
        feats = self._features('mask', extractor, inputs, rois, frames)
        residual = None
        if shape is not None:
            residual = self.relative_roi_extractor(
                shape.feats, frames, shape.frames
            )
        logits, feats = self.mpn[stage](feats, residual)
        return Shape(logits, feats, frames)

    def _predict_boxes(
        self, stage: int, inputs: Inputs, rois: Tensor, shape: Shape
    ) -> tuple[Tensor, Tensor]:
        """Scores (N, C + 1) and deltas of a stage."""
        feats = self._features(
            'bbox',
            self.bbox_roi_extractor[stage],
            inputs,
            rois,
            rois if stage == self.num_stages - 1 else shape.frames,
            masks=shape.logits,
        )
        return self.bbox_head[stage](feats, shape.feats)

    def _final_masks(
        self, inputs: Inputs, rois: Tensor, shape: Shape
    ) -> Tensor:
        """Logits (N, C, S, S) from the shapes of the last stage."""
        frames = self._frames(self.num_stages, inputs, rois, shape)
        extractor = self.mask_roi_extractor
        feats = self._features('mask', extractor, inputs, rois, frames)
        residual = self.relative_roi_extractor(
            shape.feats, frames, shape.frames
        )
        return self.mask_head(feats, residual, return_feat=False)

    def _likeliest(self, stage: int, scores: Tensor) -> Tensor:
        """Class (N,) of scores (N, C + 1), background aside."""
        return scores[:, : self.bbox_head[stage].num_classes].argmax(1)

    def _refine(
        self,
        stage: int,
        metas: list[dict],
        rois: Tensor,
        labels: Tensor,
        deltas: Tensor,
    ) -> Tensor:
        """Boxes (N, 4) of a stage for the classes (N,) of N RoIs."""
        boxes = torch.zeros_like(rois[:, 1:])
        for i, meta in enumerate(metas):
            rows = (rois[:, 0] == i).nonzero()[:, 0]
            boxes[rows] = get_box_tensor(
                self.bbox_head[stage].regress_by_class(
                    rois[rows, 1:], labels[rows], deltas[rows], meta
                )
            )
        return boxes
