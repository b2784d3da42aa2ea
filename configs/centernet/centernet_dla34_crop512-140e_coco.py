# CenterNet, DLA-34, 1x. AP 36.3, flip test 38.2, multi-scale test 40.7.
# 8 GPUs x 16 images, lr 0.0005.
_base_ = './centernet_r18-dcnv2_crop512-140e_coco.py'
model = dict(
    backbone=dict(
        _delete_=True,
        type='DLANet',
        init_cfg=dict(
            type='Pretrained',
            checkpoint='http://dl.yf.io/dla/models/imagenet/dla34-ba72cf86.pth',
        ),
    ),
    neck=dict(_delete_=True, type='DLAUpNeck'),
    bbox_head=dict(feat_channels=256, init_std=None),
)
train_dataloader = dict(batch_size=16)
auto_scale_lr = dict(base_batch_size=128)
mini = dict(model=dict(_delete_=True, **_base_.narrow_dla))
