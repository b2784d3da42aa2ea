from .backbone import PyConvHGResNet, PyConvResNet
from .pyconv import PyConv2d
from .ssd import PyConvSSDHead, PyConvSSDNeck
