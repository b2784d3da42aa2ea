"""Non-maximum suppression over detections of several views."""

from mmcv.ops import batched_nms
from mmengine.structures import InstanceData


def merge_duplicates(
    found: InstanceData, nms: dict, max_per_img: int
) -> InstanceData:
    """Run an NMS class by class and keep the best, by descending score.

    Args:
        found: ``bboxes`` (N, 4), ``scores`` and ``labels`` (N,).
        nms: Config of mmcv's NMS.
        max_per_img: How many are kept, and all that tie with the last.
    """
    if not len(found):
        return found
    # mmcv separates classes by an offset that is right for x, y >= 0 only
    boxes = found.bboxes - found.bboxes.min()
    rows, index = batched_nms(
        boxes.float(), found.scores.float(), found.labels, nms
    )
    found = found[index]
    found.scores = rows[:, -1].to(found.scores)
    if 0 < max_per_img < len(found):
        found = found[found.scores >= found.scores[max_per_img - 1]]
    return found
