# Ablation: all four terms are divided by the number of matched and compensated
# anchors together. Not in the paper. 8 GPUs x 2 images, lr 0.01.
_base_ = './hambox_retinanet_r50_fpn_1x_coco.py'
model = dict(bbox_head=dict(joint_normalizer=True))
