"""Metrics that several methods share."""

from .coco_iou_metric import CocoIoUMetric
