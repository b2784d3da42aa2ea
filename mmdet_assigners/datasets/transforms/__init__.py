"""Transforms that several methods share; importing registers them."""

from .keypoint_crops import CenterWarp, KeepResolution, RandomCenterWarp
from .pca_jitter import PCAColorJitter
