from .backbone import PSResNet, PSResNeXt
from .layers import PSConv2d, PSGConv2d
from .neck import PSFPN
