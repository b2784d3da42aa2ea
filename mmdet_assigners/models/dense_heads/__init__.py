from .flat_retina_head import FlatRetinaHead
from .flat_ssd_head import FlatSSDHead
from .ranking_heads import (
    RankingATSSHead,
    RankingFCOSHead,
    RankingRetinaHead,
)
