from .backbones import CSPDarknet53, CSPResNet, CSPResNeXt
from .coder import ScaledYOLOBBoxCoder
from .efm import EFM
from .head import IoUYOLOV3Head
from .panet import SPPPANNeck
from .peleenet import CSPPeleeNet, PeleeNet
