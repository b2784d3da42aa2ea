# BorderDet X-101-32x8d DCNv2, 2x, shorter side 640 or 800: AP 47.9 on val
# (official model zoo). DCN in the stages c4 and c5.
# 8 GPUs x 2 images, lr 0.01.
_base_ = './borderdet_x101-32x8d_fpn_ms-2x_coco.py'
model = dict(
    backbone=dict(
        dcn=dict(type='DCNv2', deform_groups=1, fallback_on_stride=False),
        stage_with_dcn=(False, False, True, True),
    )
)
