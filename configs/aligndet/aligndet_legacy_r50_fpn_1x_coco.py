# The conventions of the official code: its operator samples boxes that are
# 1 - 1 / stride cells wider; the class and the box of a positive may come from
# two objects. Its inclusive corners, one pixel before these, change nothing.
# 8 GPUs x 2 images, lr 0.01.
_base_ = './aligndet_r50_fpn_1x_coco.py'
model = dict(
    bbox_head=dict(align_head=dict(legacy_plus_one=True)),
    train_cfg=dict(
        assigner=dict(type='AlignDetAssigner'),
        align_assigner=dict(type='AlignDetAssigner'),
    ),
)
