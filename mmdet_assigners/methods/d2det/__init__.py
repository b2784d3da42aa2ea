from .head import D2DetHead
from .pooling import DiscriminativeRoIExtractor
from .roi_head import D2DetRoIHead
