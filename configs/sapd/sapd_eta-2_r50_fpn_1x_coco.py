# Ablation: exponent 2.0 of the generalized centerness (paper's
# best: 1). The paper's AP isn't known to us.
# 8 GPUs x 2 images, lr 0.01.
_base_ = './sapd_r50_fpn_1x_coco.py'
model = dict(bbox_head=dict(eta=2.0))
