from .head import GaussianYOLOV3Head
from .loss import GaussianNLLLoss
