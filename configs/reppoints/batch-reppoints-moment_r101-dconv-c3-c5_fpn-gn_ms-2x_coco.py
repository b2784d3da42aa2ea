# RepPoints R-101-DCN, moment, 2x multi-scale: AP 44.8 on val2017 in the
# official repository, 46.4 with --tta. 8 GPUs x 2 images, lr 0.01.
_base_ = './batch-reppoints-moment_r101_fpn-gn_ms-2x_coco.py'
model = dict(
    backbone=dict(
        dcn=dict(type='DCN', deform_groups=1, fallback_on_stride=False),
        stage_with_dcn=(False, True, True, True),
    )
)
