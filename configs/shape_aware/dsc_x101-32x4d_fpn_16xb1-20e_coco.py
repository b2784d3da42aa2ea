# DSC X-101-32x4d, 20 epochs: box AP 48.0, mask AP 41.9 on val in the official
# README. 16 GPUs x 1 image, lr 0.02. Needs COCO's stuffthingmaps.
_base_ = './dsc_r101_fpn_20e_coco.py'
model = dict(
    backbone=dict(
        type='ResNeXt',
        groups=32,
        base_width=4,
        init_cfg=dict(checkpoint='open-mmlab://resnext101_32x4d'),
    )
)
train_dataloader = dict(batch_size=1, num_workers=1)
