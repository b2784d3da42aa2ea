# AlignDet without a pyramid: one map of stride 16 (dilated C5). The anchor's
# side of 128 pixels is our choice.
# 8 GPUs x 2 images, lr 0.01.
_base_ = './aligndet_r50_fpn_1x_coco.py'
model = dict(
    backbone=dict(
        out_indices=(3,), strides=(1, 2, 2, 1), dilations=(1, 1, 1, 2)
    ),
    neck=dict(
        _delete_=True,
        type='ChannelMapper',
        in_channels=[2048],
        kernel_size=1,
        out_channels=256,
        num_outs=1,
    ),
    bbox_head=dict(anchor_generator=dict(octave_base_scale=8, strides=[16])),
)
