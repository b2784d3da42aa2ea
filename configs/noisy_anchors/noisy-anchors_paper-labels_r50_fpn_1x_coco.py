# Ablation: the soft labels of the paper's formula. 8 GPUs x 2 images, lr 0.01.
_base_ = './noisy-anchors_r50_fpn_1x_coco.py'
model = dict(bbox_head=dict(soft_label_mode='paper'))
