# D2Det R-101, 2x: AP 44.9 on val in the official README; one sample per bin.
# 8 GPUs x 2 images, lr 0.02.
_base_ = './d2det_r50_fpn_2x_coco.py'
model = dict(
    backbone=dict(
        depth=101,
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet101'),
    ),
    roi_head=dict(bbox_roi_extractor=dict(roi_layer=dict(sampling_ratio=1))),
)
