# The baseline: Faster R-CNN with a plain ResNet-50 and the official recipe.
# AP 36.4 on val in mmdet 1.x. 8 GPUs x 2 images, lr 0.02.
_base_ = './psconv_faster-rcnn_r50_fpn_1x_coco.py'
model = dict(
    backbone=dict(
        _delete_=True,
        type='ResNet',
        depth=50,
        frozen_stages=1,
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet50'),
    )
)
# --small replaces every ResNet otherwise
small = dict(
    model=dict(
        backbone=dict(
            _delete_=True, type='ResNet', **_base_.psconv_mini.backbone
        )
    )
)
