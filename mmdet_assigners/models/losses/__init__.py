from .ap_loss import APLoss
from .dr_loss import DRLoss
from .ga_shape_loss import GAShapeLoss
from .gaussian_nll_loss import GaussianNLLLoss
from .generalized_focal_loss import GaussianDistanceLoss, GeneralizedFocalLoss
from .kl_loss import KLLoss
from .soft_focal_loss import SoftFocalLoss
