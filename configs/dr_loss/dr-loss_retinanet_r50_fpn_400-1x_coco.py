# DR loss R-50, 1x, images of 400 x 667 pixels. The official repository has
# such a config.
# 8 GPUs x 2 images, lr 0.01.
_base_ = './dr-loss_retinanet_r50_fpn_1x_coco.py'
train_dataloader = dict(
    dataset=dict(
        pipeline=[
            *_base_.train_pipeline[:2],
            dict(type='Resize', scale=(667, 400), keep_ratio=True),
            *_base_.train_pipeline[3:],
        ]
    )
)
val_dataloader = dict(
    dataset=dict(
        pipeline=[
            _base_.test_pipeline[0],
            dict(type='Resize', scale=(667, 400), keep_ratio=True),
            *_base_.test_pipeline[2:],
        ]
    )
)
test_dataloader = val_dataloader
