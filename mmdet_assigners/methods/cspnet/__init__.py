from .backbones import CSPDarknet53, CSPResNeXt, CSPResNet
from .efm import EFM
