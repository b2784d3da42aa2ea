# SEPC table row "FreeAnchor + SEPC-lite": AP 41.9; one step before: 41.0.
# 8 GPUs (assumed) x 4 images, lr 0.01.
_base_ = './pconv-ibn_freeanchor_r50_fpn_1x_coco.py'
model = dict(
    neck=[
        _base_.model.neck[0],
        dict(_base_.model.neck[1], lcconv_deform=True),
    ]
)
