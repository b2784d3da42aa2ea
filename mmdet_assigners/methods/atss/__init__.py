from .atss_assigner import BatchATSSAssigner
from .center_in_gt_assigner import CenterInGTMaxIoUAssigner
from .head import ATSSLadderHead
from .ssc_assigner import SSCAssigner
from .topk_iou_assigner import TopkIoUAssigner
