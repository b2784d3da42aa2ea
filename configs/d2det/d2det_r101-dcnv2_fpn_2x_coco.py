# D2Det R-101 with modulated deformable convolutions, 2x: AP 46.9 on val in the
# official README. 8 GPUs x 2 images, lr 0.02.
_base_ = './d2det_r101_fpn_2x_coco.py'
model = dict(
    backbone=dict(
        dcn=dict(type='DCNv2', deform_groups=1, fallback_on_stride=False),
        stage_with_dcn=(False, True, True, True),
    )
)
