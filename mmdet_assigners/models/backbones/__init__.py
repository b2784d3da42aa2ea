"""Backbones that are not of one method; importing registers them."""

from .efficientnet_lite import EfficientNetLite0

__all__ = ['EfficientNetLite0']
