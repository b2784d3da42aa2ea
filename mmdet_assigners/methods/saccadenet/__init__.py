from .aggregation import AggregationAttention
from .head import SaccadeHead
