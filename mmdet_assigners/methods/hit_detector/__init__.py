from .backbone import HitBackbone
from .bilevel import (
    ArchOptimWrapperConstructor,
    BilevelSearchLoop,
    HalfDataset,
)
from .detector import SearchFasterRCNN
from .head import HitBBoxHead
from .hook import ArchDeriveHook
from .neck import HitPAFPN
from .search_space import (
    SearchableBackbone,
    SearchableBBoxHead,
    SearchableNeck,
)
