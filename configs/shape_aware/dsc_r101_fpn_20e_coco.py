# DSC R-101, 20 epochs: box AP 46.6, mask AP 40.7 on val in the official
# README. 8 GPUs x 2 images, lr 0.02. Needs COCO's stuffthingmaps.
_base_ = './dsc_r50_fpn_20e_coco.py'
model = dict(
    backbone=dict(
        depth=101,
        init_cfg=dict(checkpoint='torchvision://resnet101'),
    )
)
