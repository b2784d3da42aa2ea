from .dually_supervised_roi_heads import (
    DuallySupervisedCascadeRoIHead,
    DuallySupervisedRoIHead,
)
from .kl_heads import KLBBoxHead, KLRoIHead
from .sampling_free_bbox_head import SamplingFreeBBoxHead
