# Ablation: matched and compensated anchors are each divided by their own
# number, the paper's form for faces. 8 GPUs x 2 images, lr 0.01.
_base_ = './hambox_retinanet_r50_fpn_1x_coco.py'
model = dict(bbox_head=dict(joint_normalizer=False))
