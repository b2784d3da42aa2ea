# The conventions of the official code: inclusive pixels everywhere; the class
# and the box of a positive may come from two objects.
# 8 GPUs x 2 images, lr 0.01.
_base_ = './aligndet_r50_fpn_1x_coco.py'
model = dict(
    bbox_head=dict(
        anchor_generator=dict(type='DetectronAnchorGenerator'),
        bbox_coder=dict(type='LegacyDeltaXYWHBBoxCoder'),
        align_head=dict(legacy_plus_one=True),
    ),
    train_cfg=dict(
        assigner=dict(type='AlignDetAssigner', iou_plus_one=True),
        align_assigner=dict(type='AlignDetAssigner', iou_plus_one=True),
    ),
)
