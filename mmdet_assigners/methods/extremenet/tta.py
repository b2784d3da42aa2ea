"""Flip and multi-scale test of ExtremeNet."""

from mmdet.registry import MODELS

from ...models.test_time_augs.grouped_tta import GroupedTTA


@MODELS.register_module()
class ExtremeTTA(GroupedTTA):
    """Merges objects of images, of their mirror images and of all scales.

    Each view is grouped on its own. One NMS, and where ``suppress_ghost`` of
    the head's ``test_cfg`` asks for it the suppression of ghosts, follow over
    all of them.

    Source: arXiv 1901.08043.

    Args: as of ``KeypointTTA``: ``flip`` also takes the mirrored input.
    """
