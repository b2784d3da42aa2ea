from .assigner import BatchPointAssigner
from .head import BatchRepPointsHead
