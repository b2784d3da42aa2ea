# FCOS without FPN: one level of stride 16 from C4, objects of all sizes. The
# paper counts its recall and its ambiguous points.
# 8 GPUs x 2 images, lr 0.01.
_base_ = './fcos-ablation_r50-caffe_fpn_gn-head_1x_coco.py'
model = dict(
    backbone=dict(
        num_stages=3, strides=(1, 2, 2), dilations=(1, 1, 1), out_indices=(2,)
    ),
    neck=dict(
        _delete_=True,
        type='ChannelMapper',
        in_channels=[1024],
        out_channels=256,
        kernel_size=3,
        act_cfg=None,
        num_outs=1,
    ),
    bbox_head=dict(strides=[16], regress_ranges=((-1, 1e8),)),
)
mini = dict(model=dict(neck=dict(in_channels=[64])))
