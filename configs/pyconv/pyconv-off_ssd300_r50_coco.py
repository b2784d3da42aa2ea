# SSD300 on ResNet-50: its third stage has stride 8 and is the last.
# 8 GPUs x 8 images, lr 0.002.
_base_ = ['mmdet::ssd/ssd300_coco.py', '../_base_/pyconv_ssd_narrow.py']
channels = (1024, 512, 512, 256, 256, 256)
model = dict(
    data_preprocessor=dict(std=[58.395, 57.12, 57.375]),
    backbone=dict(
        _delete_=True,
        type='ResNet',
        depth=50,
        num_stages=3,
        strides=(1, 2, 1),
        dilations=(1, 1, 1),
        out_indices=(2,),
        norm_eval=False,
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet50'),
    ),
    neck=dict(
        in_channels=channels[:1],
        out_channels=channels,
        level_strides=(2, 2, 2, 1, 1),
        level_paddings=(1, 1, 1, 0, 0),
        l2_norm_scale=None,
        norm_cfg=dict(type='BN'),
    ),
    bbox_head=dict(type='FlatSSDHead', in_channels=channels),
)
