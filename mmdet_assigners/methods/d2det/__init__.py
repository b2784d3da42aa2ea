from .head import D2DetHead
from .instance_head import D2DetInstanceHead
from .pooling import DiscriminativeRoIExtractor
from .roi_head import D2DetRoIHead
