# SEPC table row "FSAF + SEPC": AP 41.6; one step before: 40.5.
# 8 GPUs (assumed) x 4 images, lr 0.01.
_base_ = './sepc-lite_fsaf_r50_fpn_1x_coco.py'
model = dict(
    neck=[
        _base_.model.neck[0],
        dict(_base_.model.neck[1], pconv_deform=True),
    ]
)
