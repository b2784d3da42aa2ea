# For the released Detectron model (AP 39.2 on val): Caffe-style backbone and
# input, boxes with inclusive corners, RoIAlign of Detectron, voting as its
# code does it. Convert the file with tools/convert/kl_loss.py first.
_base_ = './kl-loss_faster-rcnn_official-order_r50_fpn_2x_coco.py'
model = dict(
    data_preprocessor=dict(
        mean=[102.9801, 115.9465, 122.7717],
        std=[1.0, 1.0, 1.0],
        bgr_to_rgb=False,
    ),
    backbone=dict(norm_cfg=dict(requires_grad=False), style='caffe'),
    rpn_head=dict(
        anchor_generator=dict(type='DetectronAnchorGenerator'),
        bbox_coder=dict(plus_one=True),
    ),
    roi_head=dict(
        bbox_roi_extractor=dict(
            roi_layer=dict(sampling_ratio=2, aligned=False)
        ),
        bbox_head=dict(bbox_coder=dict(plus_one=True)),
    ),
    test_cfg=dict(rcnn=dict(nms=dict(plus_one=True))),
)
