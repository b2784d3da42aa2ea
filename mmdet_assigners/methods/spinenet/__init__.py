from .backbone import SpineNet
from .head import SpineNetHead
