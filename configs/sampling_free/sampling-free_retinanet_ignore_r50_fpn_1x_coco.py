# Ablation: anchors between the IoU thresholds are left out.
# 8 GPUs x 2 images, lr 0.01.
_base_ = './sampling-free_retinanet_r50_fpn_1x_coco.py'
model = dict(bbox_head=dict(ignored_as_negative=False))
