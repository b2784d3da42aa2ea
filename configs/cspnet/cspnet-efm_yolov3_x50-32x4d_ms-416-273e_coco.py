# CSPResNeXt-50 and EFM under YOLOv3; we found no text with the paper's row.
# mmdet's Darknet-53: 30.9. 8 GPUs x 8 images, lr 0.001.
_base_ = './cspnet_yolov3_x50-32x4d_ms-416-273e_coco.py'
model = dict(
    neck=dict(
        _delete_=True,
        type='EFM',
        in_channels=[512, 1024, 2048],
        out_channels=[128, 256, 512],
        coarsest_first=True,
    )
)
mini = dict(
    model=dict(
        neck=dict(
            in_channels=[64, 128, 256], out_channels=[16, 32, 64], channels=32
        )
    )
)
