from .head import ExtremeHead
