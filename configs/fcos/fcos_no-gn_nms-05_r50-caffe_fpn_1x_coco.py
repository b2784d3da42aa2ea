# FCOS vs RetinaNet: no GN, NMS 0.5. AP 36.4 on val in the paper.
# 8 GPUs x 2 images, lr 0.01.
_base_ = './fcos_no-gn_r50-caffe_fpn_1x_coco.py'
model = dict(test_cfg=dict(nms=dict(iou_threshold=0.5)))
