# For a detector that the official code has trained (AP on val 41.3 in its
# README, which links none): the boxes of mmdet 1.x.
_base_ = './hit-detector_faster-rcnn_1x_coco.py'
model = dict(
    # inclusive corners [x1, x2] are [x1, x2 + 1] here
    rpn_head=dict(
        anchor_generator=dict(type='MMDetV1AnchorGenerator', center_offset=0.5)
    ),
    roi_head=dict(
        bbox_roi_extractor=dict(
            roi_layer=dict(aligned=False, sampling_ratio=2)
        )
    ),
)
