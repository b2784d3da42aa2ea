# Ablation: the ignore rule alone, no anchor is compensated.
# 8 GPUs x 2 images, lr 0.01.
_base_ = './hambox_r50_fpn_1x_widerface.py'
model = dict(train_cfg=dict(assigner=dict(topk=0)))
