from .dsc import DSCRoIHead
from .heads import DSCBBoxHead, DSCMaskHead
from .mask_refining import MaskRefiningRoIHead
from .roi_extractors import RelativeRoIExtractor, ShapeGuidedRoIExtractor
