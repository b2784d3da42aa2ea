# Official zoo, X-101-64x4d DCNv2, 2x, multi-scale: AP 47.7 on val, 47.7 on
# test-dev. DCN in the stages c4 and c5 and the last convolution of the towers.
# 8 GPUs x 2 images, lr 0.01.
_base_ = './atss-ladder_x101-64x4d_fpn_ms-2x_coco.py'
model = dict(
    backbone=dict(
        dcn=dict(type='DCNv2', deform_groups=1, fallback_on_stride=False),
        stage_with_dcn=(False, False, True, True),
    ),
    bbox_head=dict(dcn_on_last_conv=True),
)
# mmcv's CPU kernel knows no bfloat16
mini = dict(model=dict(bbox_head=dict(dcn_on_last_conv=False)))
