# K = 3 and T = 0.8, the paper's choice (from memory, unverified).
# 8 GPUs x 2 images, lr 0.01.
_base_ = './hambox_k3_r50_fpn_1x_widerface.py'
model = dict(train_cfg=dict(assigner=dict(online_iou_thr=0.8)))
