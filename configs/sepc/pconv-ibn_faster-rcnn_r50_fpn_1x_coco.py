# PConv with iBN as the neck of a two-stage detector (see the PConv config).
# 8 GPUs x 2 images, lr 0.02 (the baseline's).
_base_ = './pconv_faster-rcnn_r50_fpn_1x_coco.py'
model = dict(
    neck=[
        _base_.model.neck[0],
        dict(_base_.model.neck[1], ibn=True),
    ]
)
