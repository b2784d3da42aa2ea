from .assigner import PairedMaxIoUAssigner
from .boxes import PairedBoxes
from .coder import PairedDeltaXYWHBBoxCoder
from .dataset import PairedCocoDataset
from .metrics import PairedCocoMetric, VisibleCrowdHumanMetric
from .roi_extractor import PairedRoIExtractor
from .roi_heads import PairedBBoxHead, PairedRoIHead
from .rpn_head import PairedRPNHead
from .transforms import LoadVisibleBoxes, PackPairedInputs, PairedBatchResize
