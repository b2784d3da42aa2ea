# SpineNet-49S under Mask R-CNN at 640: AP 39.3, masks 34.8 on val officially,
# 39.7 and 34.9 in a port. 8 GPUs x 8 images, lr 0.07.
_base_ = './spinenet_mask-rcnn_49_640-350e_coco.py'
extractor = dict(out_channels=128)
channels = dict(in_channels=128, conv_out_channels=128)
model = dict(
    backbone=dict(arch='49S'),
    rpn_head=dict(in_channels=128, feat_channels=128),
    roi_head=dict(
        bbox_roi_extractor=extractor,
        mask_roi_extractor=extractor,
        bbox_head=dict(fc_out_channels=512, **channels),
        mask_head=channels,
    ),
)
