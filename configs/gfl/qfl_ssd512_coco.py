# Table 1b: SSD512 with QFL, sigmoids instead of softmax: AP 30.2 on val.
# 8 GPUs x 8 images, lr 0.002.
_base_ = 'mmdet::ssd/ssd512_coco.py'
custom_imports = dict(imports=['mmdet_assigners'], allow_failed_imports=False)
model = dict(
    bbox_head=dict(
        type='QFLSSDHead',
        loss_cls=dict(type='GeneralizedFocalLoss', form='quality', beta=2.0),
    )
)
# images of 123x123: a last level of one cell, anchors of a quarter
_sides = [5, 13, 33, 54, 74, 94, 115, 136]
mini = dict(
    model=dict(
        neck=dict(last_kernel_size=3),
        bbox_head=dict(
            anchor_generator=dict(min_sizes=_sides[:-1], max_sizes=_sides[1:])
        ),
    )
)
