from .coco_iou_metric import CocoIoUMetric
from .wider_face_metric import WIDERFaceMetric
