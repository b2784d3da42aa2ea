from .loss import APLoss
