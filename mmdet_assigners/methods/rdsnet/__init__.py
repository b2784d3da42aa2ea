from .detector import RDSNet
from .head import RDSRetinaHead
from .mask_head import RDSMaskHead
from .refinement import MaskBoundaryRefinement
from .tta import MaskBoundaryTTA
