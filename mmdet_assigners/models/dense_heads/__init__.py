from .flat_retina_head import FlatRetinaHead
from .ranking_heads import (
    RankingATSSHead,
    RankingFCOSHead,
    RankingRetinaHead,
)
