# The official schedule: a second 2x that starts from a trained Faster R-CNN
# 2x, here mmdet's. AP 39.2 on val in the official repository.
# 8 GPUs x 2 images, lr 0.02.
_base_ = './kl-loss_faster-rcnn_r50_fpn_2x_coco.py'
load_from = 'https://download.openmmlab.com/mmdetection/v2.0/faster_rcnn/faster_rcnn_r50_fpn_2x_coco/faster_rcnn_r50_fpn_2x_coco_bbox_mAP-0.384_20200504_210434-a5d8aa15.pth'
mini = dict(load_from=None)
