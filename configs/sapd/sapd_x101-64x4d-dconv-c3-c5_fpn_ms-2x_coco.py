# SAPD X-101-64x4d-DCN, multi-scale: AP 47.4 on test-dev in the paper
# (stages with DCN: assumed c3-c5). 8 GPUs x 2 images, lr 0.01.
_base_ = './sapd_x101-64x4d_fpn_ms-2x_coco.py'
model = dict(
    backbone=dict(
        dcn=dict(type='DCN', deform_groups=1, fallback_on_stride=False),
        stage_with_dcn=(False, True, True, True),
    )
)
