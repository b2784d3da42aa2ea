from .backbone import SingleHourglassNet
from .head import CornerPairHead
from .tta import CornerPairTTA
