# CenterNet, ResNet-101 with deformable convolutions. AP 34.6, flip test 36.2,
# multi-scale test 39.3.
# 8 GPUs x 12 images, lr 0.000375.
_base_ = './centernet_r18-dcnv2_crop512-140e_coco.py'
model = dict(
    backbone=dict(
        depth=101,
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet101'),
    ),
    neck=dict(in_channels=2048),
)
train_dataloader = dict(batch_size=12)
optim_wrapper = dict(optimizer=dict(lr=3.75e-4))
auto_scale_lr = dict(base_batch_size=96)
