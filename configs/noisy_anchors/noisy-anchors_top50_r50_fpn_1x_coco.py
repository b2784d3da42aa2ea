# Ablation: 50 anchors per object, the default of the official code.
# The paper's AP isn't known to us. 8 GPUs x 2 images, lr 0.01.
_base_ = './noisy-anchors_r50_fpn_1x_coco.py'
model = dict(train_cfg=dict(assigner=dict(topn=50)))
