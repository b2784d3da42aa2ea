# Ablation: the ignore rule alone, no anchor is compensated. Not in the paper.
# 8 GPUs x 2 images, lr 0.01.
_base_ = './hambox_retinanet_r50_fpn_1x_coco.py'
model = dict(train_cfg=dict(assigner=dict(topk=0)))
