from .ga_shape_loss import GAShapeLoss
from .soft_focal_loss import SoftFocalLoss
