# For the released R-50 checkpoint (AP 39.2 on test-dev): Caffe-style backbone
# and input, anchors and boxes with inclusive corners, ReLU before P7.
# Convert the file with tools/convert/mal.py first.
_base_ = './mal_r50_fpn_18e_coco.py'
model = dict(
    data_preprocessor=dict(
        mean=[102.9801, 115.9465, 122.7717],
        std=[1.0, 1.0, 1.0],
        bgr_to_rgb=False,
    ),
    backbone=dict(norm_cfg=dict(requires_grad=False), style='caffe'),
    neck=dict(relu_before_extra_convs=True),
    bbox_head=dict(
        anchor_generator=dict(type='DetectronAnchorGenerator'),
        bbox_coder=dict(type='LegacyDeltaXYWHBBoxCoder'),
    ),
)
