from .backbone import PyConvHGResNet, PyConvResNet
from .pyconv import PyConv2d
