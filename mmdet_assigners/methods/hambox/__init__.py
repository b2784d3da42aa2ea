from .assigner import HAMBoxAssigner
from .heads import HAMBoxRetinaHead, HAMBoxRPNHead
from .wider_face_metric import WIDERFaceMetric
