# SEPC table row "RetinaNet + PConv + iBN": AP 37.8; one step before: 37.0.
# 8 GPUs (assumed) x 4 images, lr 0.01.
_base_ = './pconv_retinanet_r50_fpn_1x_coco.py'
model = dict(
    neck=[
        _base_.model.neck[0],
        dict(_base_.model.neck[1], ibn=True),
    ]
)
train_dataloader = dict(batch_size=4)
auto_scale_lr = dict(base_batch_size=32)
