from .loss import DRLoss
