from .align_det_assigner import AlignDetAssigner
from .batch_atss_assigner import BatchATSSAssigner
from .batch_max_iou_assigner import BatchMaxIoUAssigner
from .batch_point_assigner import BatchPointAssigner
from .center_in_gt_assigner import CenterInGTMaxIoUAssigner
from .hambox_assigner import HAMBoxAssigner
from .ssc_assigner import SSCAssigner
from .topk_iou_assigner import TopkIoUAssigner
from .topn_iou_assigner import TopNIoUAssigner
from .yolo_grid_assigners import BatchGridAssigner, DarknetGridAssigner
