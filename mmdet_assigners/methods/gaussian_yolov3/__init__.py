from .assigners import BatchGridAssigner, DarknetGridAssigner
from .flat_yolov3_head import FlatYOLOV3Head
from .head import GaussianYOLOV3Head
from .loss import GaussianNLLLoss
