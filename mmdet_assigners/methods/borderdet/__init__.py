from .head import BorderDetHead
from .rpn_head import BorderRPNHead
