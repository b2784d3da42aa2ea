# Ablation: compensation alone, no negative is ignored for its regressed box.
# Not in the paper. 8 GPUs x 2 images, lr 0.01.
_base_ = './hambox_retinanet_r50_fpn_1x_coco.py'
model = dict(train_cfg=dict(assigner=dict(ignore_pred_iou=1.1)))
