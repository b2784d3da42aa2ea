# RetinaNet without a pyramid: one map of stride 16 (dilated C5), 1x1 to 256
# channels, nine anchor sizes. According to the paper RetinaNet loses much more
# by this than Faster R-CNN
# (mmdet::faster_rcnn/faster-rcnn_r50-caffe-dc5_1x_coco).
# 8 GPUs x 2 images, lr 0.01.
_base_ = 'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py'
custom_imports = dict(imports=['mmdet_assigners'], allow_failed_imports=False)
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
    bbox_head=dict(anchor_generator=dict(octave_base_scale=4, strides=[16])),
)
