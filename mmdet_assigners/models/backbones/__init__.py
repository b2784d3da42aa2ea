"""Backbones that are not of one method; importing registers them."""

from .dla import DLANet
from .efficientnet_lite import EfficientNetLite0

__all__ = ['DLANet', 'EfficientNetLite0']
