from .batch_max_iou_assigner import BatchMaxIoUAssigner
from .bounded_max_iou_assigners import (
    BoundedApproxMaxIoUAssigner,
    BoundedMaxIoUAssigner,
)
from .grid_assigners import BatchGridAssigner, DarknetGridAssigner
