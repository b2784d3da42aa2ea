# CSPResNeXt50-PANet-SPP-GIoU: 39.4 on test-dev with Darknet's training, and
# 42.4 with the later one. 8 GPUs x 8 images, lr 0.001.
_base_ = './cspnet-panet-spp_yolov3_x50-32x4d_ms-512-273e_coco.py'
head = _base_.model.bbox_head
model = dict(
    bbox_head=dict(
        _delete_=True,
        type='IoUYOLOV3Head',
        num_classes=80,
        in_channels=[512, 256, 128],
        out_channels=[1024, 512, 256],
        anchor_generator=head.anchor_generator,
        bbox_coder=dict(
            type='ScaledYOLOBBoxCoder',
            scales=[1.05, 1.1, 1.2],
            strides=[32, 16, 8],
        ),
        featmap_strides=[32, 16, 8],
        loss_cls=head.loss_cls,
        loss_conf=head.loss_conf,
        loss_bbox=dict(type='GIoULoss', loss_weight=0.5, reduction='sum'),
        clip_detections=True,
    )
)
