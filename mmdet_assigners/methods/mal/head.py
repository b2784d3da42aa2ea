"""MAL: anchors compete for their objects, the strongest are held back."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from mmdet.models.dense_heads import FreeAnchorRetinaHead
from mmdet.registry import MODELS
from torch import Tensor

from ...models.checks import (
    check_delta_loss,
    refuse_ignored_regions,
    refuse_pos_weight,
)
from ...models.dense_heads.flat_head import FlatBatch, FlatLossMixin
from ...models.task_modules.assigners._base import Assignment
from ...ops.cross_entropy import log_loss
from . import functional as mal
from .feature_depression import FeatureDepression, iteration_of

if TYPE_CHECKING:
    from ...engine.hooks.train_progress_hook import TrainProgress

_DEPRESSION = dict(type='spatial', schedule=5, keep=0.25)
_INIT = dict(
    type='Normal',
    layer='Conv2d',
    std=0.01,
    override=dict(type='Normal', name='retina_cls', std=0.01, bias_prob=0.02),
)


@MODELS.register_module()
class MALRetinaHead(FlatLossMixin, FreeAnchorRetinaHead):
    r"""Multiple Anchor Learning on RetinaNet.

    Every ground truth i owns a bag of the anchors j of highest IoU. An anchor
    scores :math:`s_{ij} = P^{cls}_{ij} \exp(-L^{loc}_{ij})`, the bag
    :math:`S_i`, a mean of its scores that turns into their maximum, and
    :math:`-\log S_i` is the loss of the positives. While training, the
    features at the most active positions are weakened so that other anchors
    get their chance (:class:`FeatureDepression`). Inference is RetinaNet.

    Paper: Multiple Anchor Learning for Visual Object Detection, CVPR 2020,
    arXiv 1912.02252. Official code: DeLightCMU/MAL, which is FreeAnchor with
    feature depression; so is this head with its defaults, and with
    ``depression=None, clamp_gradient=False`` it is mmdet's
    ``FreeAnchorRetinaHead``, batched. Bags that
    hold fewer than ``pre_anchor_topk`` anchors are allowed.

    Differences from the official code: anchor centers are those of the anchor
    generator (``center_offset=0.5`` restores half a stride). Its corners are
    inclusive, which with exclusive ones, a pixel further, makes no difference
    (``legacy_plus_one=True`` is for boxes with inclusive corners). Both losses
    are divided by the number of ground truths on the GPU, as there.

    Args:
        *args: As ``FreeAnchorRetinaHead``.
        selection: Score of a bag: 'mean_max' (official code), or
            'topk_anneal', the mean of the k highest scores where k falls from
            all to one over the training (paper). The latter needs
            ``TrainProgressHook``.
        depression: Arguments of :class:`FeatureDepression`, which needs
            ``TrainProgressHook``; None leaves it out.
        clamp_gradient: Let gradients pass where 'mean_max' clamps
            (official); False blocks them, as mmdet's FreeAnchor does.
        legacy_plus_one: Corners of boxes and anchors are inclusive in the
            loss: sides are ``x2 - x1 + 1``.
        init_cfg: Initialization; by default RetinaNet's with the official
            prior probability of 0.02.
        **kwargs: As ``FreeAnchorRetinaHead``; ``pre_anchor_topk`` is 40 for
            R-50 in the official code, 50 in mmdet.

    Raises:
        ValueError: An option is out of its range, or one of RetinaNet's is
            set that has no effect.
        TypeError: ``loss_bbox`` is an IoU loss.
    """

    assignment_uses_predictions = True  # the weights

    def __init__(
        self,
        *args: object,
        selection: str = 'mean_max',
        depression: dict | None = _DEPRESSION,
        clamp_gradient: bool = True,
        legacy_plus_one: bool = False,
        init_cfg: dict | list | None = _INIT,
        **kwargs: object,
    ) -> None:
        super().__init__(*args, init_cfg=init_cfg, **kwargs)
        if selection not in mal.SELECTIONS:
            raise ValueError(
                f'selection must be one of {", ".join(mal.SELECTIONS)}, got '
                f'{selection!r}'
            )
        if self.pre_anchor_topk < 1:
            raise ValueError(
                'pre_anchor_topk must be at least 1, got '
                f'{self.pre_anchor_topk}'
            )
        if self.reg_decoded_bbox:
            raise ValueError(
                'reg_decoded_bbox must be False, got True: the box loss is '
                'computed on deltas'
            )
        check_delta_loss(self)
        refuse_pos_weight(self)
        refuse_ignored_regions(self, 'has bags instead of an assigner')
        self.assigner = None  # RetinaNet's; the bags take its place
        self.selection = selection
        self.clamp_gradient = clamp_gradient
        self.legacy_plus_one = legacy_plus_one
        self.progress = 0.0
        self.depression = (
            None if depression is None else FeatureDepression(**depression)
        )

    def set_train_progress(self, progress: 'TrainProgress') -> None:
        """Set the progress; called by ``TrainProgressHook``."""
        self.progress = iteration_of(progress) / progress.max_iters

    def forward(
        self, x: Sequence[Tensor]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Predict; in training mode from depressed features.

        Args:
            x: L feature maps (B, channels, H_l, W_l).

        Returns:
            tuple: L class logits and L deltas.
        """
        if self.depression is not None:
            x = self.depression(x)
        return super().forward(tuple(x))

    def loss_flat(self, flat: FlatBatch) -> dict[str, Tensor]:
        """Losses of a batch.

        Args:
            flat: Logits (B, P, C), deltas (B, P, 4), anchors (P, 4) and
                ground truths (B, G, 4).

        Returns:
            dict: ``positive_bag_loss`` and ``negative_bag_loss``.
        """
        if self.legacy_plus_one:
            flat = _exclusive_corners(flat)
        _, scores = self.bag_scores(flat)
        if self.selection == 'mean_max':
            bags = mal.mean_max(scores, self.clamp_gradient)
        else:
            size = mal.annealed_size(scores.shape[-1], self.progress)
            bags = mal.mean_of_best(scores, size)
        num_gts = flat.mask.sum()
        positive = log_loss(bags, 1).where(flat.mask, 0).sum()
        box_prob = mal.box_probability(
            self.decode(replace(flat, deltas=flat.deltas.detach())),
            flat.boxes,
            flat.labels,
            flat.mask,
            self.cls_out_channels,
            self.bbox_thr,
        )
        negative = mal.negative_bag_loss(
            flat.cls.sigmoid(), box_prob, self.gamma
        )
        norm = (num_gts * self.pre_anchor_topk).clamp(min=1)
        return dict(
            positive_bag_loss=self.alpha * positive / num_gts.clamp(min=1),
            negative_bag_loss=(1 - self.alpha) * negative / norm,
        )

    def bag_scores(self, flat: FlatBatch) -> tuple[Tensor, Tensor]:
        """Bags and the joint scores of their anchors.

        Args:
            flat: Predictions, anchors and ground truths.

        Returns:
            tuple: Indices of anchors (B, G, K) and scores (B, G, K) in
            [0, 1], which mean nothing for padding.
        """
        bags = mal.anchor_bags(
            flat.anchors, flat.boxes, flat.mask, self.pre_anchor_topk
        )
        batch, num_gts, size = bags.shape
        own = bags * flat.cls.shape[2] + flat.labels[..., None]
        logits = flat.cls.flatten(1).gather(1, own.flatten(1))
        index = bags.flatten(1)[..., None].expand(-1, -1, 4)
        deltas = flat.deltas.gather(1, index).flatten(0, 1)
        anchors = flat.anchors[bags]
        # padding gets its anchor as box, which is easy to encode
        boxes = flat.boxes[:, :, None].where(
            flat.mask[..., None, None], anchors
        )
        targets = self.bbox_coder.encode(
            anchors.view(-1, 4), boxes.view(-1, 4)
        )
        loss = self.loss_bbox(deltas, targets, reduction_override='none')
        located = torch.exp(-loss.sum(-1)).view(batch, num_gts, size)
        return bags, logits.sigmoid().view(batch, num_gts, size) * located

    def assign_flat(self, flat: FlatBatch) -> Assignment:
        """For images: the bag in which an anchor weighs most.

        The weight is the anchor's score over the best of its bag. There are
        no ignored anchors.
        """
        with torch.no_grad():
            if self.legacy_plus_one:
                flat = _exclusive_corners(flat)
            bags, scores = self.bag_scores(flat)
            scores = scores / scores.amax(2, keepdim=True).clamp(min=1e-12)
            gt, weight = mal.best_bag(
                bags, scores, flat.mask, len(flat.anchors)
            )
        return Assignment(gt, torch.zeros_like(weight), dict(weight=weight))

    def assignment_weight(
        self, flat: FlatBatch, assignment: Assignment
    ) -> Tensor:
        """Weight (B, P) of each anchor in an image of the assignment."""
        return assignment.extra['weight']


def _exclusive_corners(flat: FlatBatch) -> FlatBatch:
    """Inclusive corners (x2, y2) as exclusive ones (x2 + 1, y2 + 1)."""
    shift = flat.anchors.new_tensor([0.0, 0.0, 1.0, 1.0])
    return replace(
        flat, anchors=flat.anchors + shift, boxes=flat.boxes + shift
    )
