# Positives of stage 2 from IoU 0.5 instead of 0.6.
# AP not known to us. 8 GPUs x 2 images, lr 0.01.
_base_ = './borderdet_r50-caffe_fpn_1x_coco.py'
model = dict(bbox_head=dict(border_iou_thr=0.5))
