# CSPResNeXt50-PANet-SPP with CIoU and its anchors: 42.4 on test-dev, with
# Darknet's training (mosaic, more positives). 8 GPUs x 8 images, lr 0.001.
_base_ = './cspnet-panet-spp-giou_yolov3_x50-32x4d_ms-512-273e_coco.py'
model = dict(
    bbox_head=dict(
        anchor_generator=dict(
            base_sizes=[
                [(142, 110), (192, 243), (459, 401)],
                [(36, 75), (76, 55), (72, 146)],
                [(12, 16), (19, 36), (40, 28)],
            ]
        ),
        loss_bbox=dict(type='CIoULoss', loss_weight=0.07),
    )
)
