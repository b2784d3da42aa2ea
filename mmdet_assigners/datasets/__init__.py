"""The generated dataset ``shapes``, and where datasets are found."""

from .shapes import SHAPES_CLASSES, SHAPES_METAINFO, generate_shapes
from .transforms import (
    CenterWarp,
    KeepResolution,
    PCAColorJitter,
    RandomCenterWarp,
)
