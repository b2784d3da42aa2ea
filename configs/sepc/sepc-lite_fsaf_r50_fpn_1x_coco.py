# SEPC table row "FSAF + SEPC-lite": AP 40.5; one step before: 39.1.
# 8 GPUs (assumed) x 4 images, lr 0.01.
_base_ = './pconv-ibn_fsaf_r50_fpn_1x_coco.py'
model = dict(
    neck=[
        _base_.model.neck[0],
        dict(_base_.model.neck[1], lcconv_deform=True),
    ]
)
