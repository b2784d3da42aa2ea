from .neck import DuallySupervisedFPN
from .roi_heads import DuallySupervisedRoIHead, DuallySupervisedCascadeRoIHead
