# Variant: the balanced feature pyramid of Libra R-CNN behind the FPN.
# 8 GPUs x 2 images, lr 0.01.
_base_ = './sapd_r50_fpn_1x_coco.py'
model = dict(
    neck=[
        _base_.model.neck,
        dict(
            type='BFP',
            in_channels=256,
            num_levels=5,
            refine_level=1,
            refine_type='non_local',
        ),
    ]
)
