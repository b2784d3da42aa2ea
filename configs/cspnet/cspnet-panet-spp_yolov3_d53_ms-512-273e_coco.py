# CSPDarknet53-PANet-SPP at 512, with YOLOv3's loss; officially 38.7 on
# test-dev, with Darknet's training. 8 GPUs x 8 images, lr 0.001.
_base_ = './cspnet-panet-spp_yolov3_x50-32x4d_ms-512-273e_coco.py'
model = dict(
    backbone=dict(
        type='CSPDarknet53',
        out_indices=(2, 3, 4),
        init_cfg=dict(checkpoint='checkpoints/csdarknet53.pth'),
    ),
    neck=dict(in_channels=[256, 512, 1024]),
)
mini = dict(
    model=dict(
        backbone=dict(
            _delete_=True,
            type='CSPDarknet53',
            widen_factor=1 / 8,
            norm_eval=False,
        ),
        neck=dict(in_channels=[32, 64, 128]),
    )
)
