# SEPC table row "FreeAnchor + SEPC": AP 43.0; one step before: 41.9.
# 8 GPUs (assumed) x 4 images, lr 0.01.
_base_ = './sepc-lite_freeanchor_r50_fpn_1x_coco.py'
model = dict(
    neck=[
        _base_.model.neck[0],
        dict(_base_.model.neck[1], pconv_deform=True),
    ]
)
