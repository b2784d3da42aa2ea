from .assigner import AlignDetAssigner
from .head import AlignDetHead
from .roi_conv import RoIConv
from .stage_head import AlignStageHead
