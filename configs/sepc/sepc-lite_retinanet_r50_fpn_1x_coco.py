# SEPC table row "RetinaNet + SEPC-lite": AP 38.5; one step before: 37.8.
# 8 GPUs (assumed) x 4 images, lr 0.01.
_base_ = './pconv-ibn_retinanet_r50_fpn_1x_coco.py'
model = dict(
    neck=[
        _base_.model.neck[0],
        dict(_base_.model.neck[1], lcconv_deform=True),
    ]
)
