from .heads import BatchGARetinaHead, BatchGARPNHead, BatchGuidedAnchorHead
from .loss import GAShapeLoss
