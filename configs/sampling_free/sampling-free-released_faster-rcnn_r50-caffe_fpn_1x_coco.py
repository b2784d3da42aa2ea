# For the released R-50 checkpoint (AP 38.4 on minival): Caffe-style backbone
# and input, anchors, boxes and RoIAlign of maskrcnn-benchmark.
# Convert the file with tools/convert/sampling_free.py first.
_base_ = './sampling-free_faster-rcnn_r50_fpn_1x_coco.py'
model = dict(
    data_preprocessor=dict(
        mean=[102.9801, 115.9465, 122.7717],
        std=[1.0, 1.0, 1.0],
        bgr_to_rgb=False,
    ),
    backbone=dict(norm_cfg=dict(requires_grad=False), style='caffe'),
    rpn_head=dict(
        anchor_generator=dict(type='DetectronAnchorGenerator'),
        bbox_coder=dict(type='LegacyDeltaXYWHBBoxCoder'),
    ),
    roi_head=dict(
        bbox_roi_extractor=dict(
            roi_layer=dict(sampling_ratio=2, aligned=False)
        ),
        bbox_head=dict(bbox_coder=dict(type='LegacyDeltaXYWHBBoxCoder')),
    ),
)
