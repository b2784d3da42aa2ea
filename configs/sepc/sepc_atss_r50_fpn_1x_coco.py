# SEPC under an ATSS head: no number in the paper, no official config.
# 8 GPUs (assumed) x 4 images, lr 0.01.
_base_ = './sepc-lite_atss_r50_fpn_1x_coco.py'
model = dict(
    neck=[
        _base_.model.neck[0],
        dict(_base_.model.neck[1], pconv_deform=True),
    ]
)
