from .coco_iou_metric import CocoIoUMetric
