# Table 4b: 50 anchors per object, the default of the official code. AP 37.3 on
# val with alpha 0.5 (30 anchors: 37.7).
# 8 GPUs x 2 images, lr 0.01.
_base_ = './noisy-anchors_r50_fpn_1x_coco.py'
model = dict(train_cfg=dict(assigner=dict(topn=50)))
