"""Deformable RoI pooling: bins of RoIs that are moved by offsets."""

from ._reference import deform_roi_pool_reference
from .op import deform_roi_pool

__all__ = ['deform_roi_pool', 'deform_roi_pool_reference']
