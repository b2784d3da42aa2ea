from .heads import BatchGuidedAnchorHead, BatchGARPNHead, BatchGARetinaHead
from .loss import GAShapeLoss
