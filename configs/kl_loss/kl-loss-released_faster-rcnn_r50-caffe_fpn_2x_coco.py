# For the released Detectron model (AP 39.2 on val): Caffe-style backbone and
# input, anchors and RoIAlign of Detectron, voting as its code does it. Convert
# the file with `mmdet-assigners convert kl_loss` first.
_base_ = [
    './kl-loss_faster-rcnn_official-order_r50_fpn_2x_coco.py',
    '../_base_/detectron_parts.py',
]
model = dict(
    data_preprocessor=_base_.detectron_input,
    backbone=_base_.detectron_backbone,
    rpn_head=dict(
        anchor_generator=dict(
            type='DetectronAnchorGenerator', center_offset=0.5
        )
    ),
    roi_head=dict(bbox_roi_extractor=_base_.detectron_roi_align),
)
