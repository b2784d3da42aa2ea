from .neck import DuallySupervisedFPN
from .roi_heads import DuallySupervisedCascadeRoIHead, DuallySupervisedRoIHead
