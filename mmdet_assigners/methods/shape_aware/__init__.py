from .heads import DSCBBoxHead, DSCMaskHead
from .roi_extractors import RelativeRoIExtractor, ShapeGuidedRoIExtractor
