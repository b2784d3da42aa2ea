from .head import ExtremeHead
from .transforms import (
    ExtremeFlip,
    ExtremeResize,
    LoadExtremePoints,
    PackExtremeInputs,
    RandomExtremeWarp,
)
from .tta import ExtremeTTA
