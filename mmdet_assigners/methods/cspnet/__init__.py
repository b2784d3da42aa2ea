from .backbones import CSPDarknet53, CSPResNet, CSPResNeXt
from .efm import EFM
from .panet import SPPPANNeck
from .peleenet import CSPPeleeNet, PeleeNet
