"""Flip and multi-scale test of CornerNet."""

from mmdet.registry import MODELS

from ...models.test_time_augs.grouped_tta import GroupedTTA


@MODELS.register_module()
class CornerPairTTA(GroupedTTA):
    """Merges pairs of images, of their mirror images and of all scales.

    As in the official code corners are paired in each view on its own, and
    one soft-NMS follows over the boxes of all views. ``DetTTAModel`` of mmdet
    merges what was suppressed in each view already.

    Source: arXiv 1808.01244, princeton-vl/CornerNet.

    Args: as of ``KeypointTTA``: ``flip`` also takes the mirrored input.
    """
