from .roi_heads import (
    DoubleHeadExtBBoxHead,
    DoubleHeadExtCascadeRoIHead,
    DoubleHeadExtRoIHead,
)
