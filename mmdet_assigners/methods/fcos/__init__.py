from .head import FCOSAblationHead
