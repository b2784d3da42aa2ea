from .head import AutoAssignAblationHead
