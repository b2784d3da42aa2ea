# For the released checkpoint of FreeAnchor + SEPC (AP 43.0): no padding in the
# two last convs, boxes and anchors of mmdet 1.x. Convert the file with
# `mmdet-assigners convert sepc` first.
_base_ = './sepc_freeanchor_r50_fpn_1x_coco.py'
model = dict(
    neck=[
        _base_.model.neck[0],
        dict(_base_.model.neck[1], head_padding=0),
    ],
    bbox_head=dict(
        # same keys as the types that they replace
        anchor_generator=dict(type='LegacyAnchorGenerator', center_offset=0.5),
        bbox_coder=dict(type='LegacyDeltaXYWHBBoxCoder'),
    ),
)
# without padding the coarsest level (stride 128) needs 3x3 cells
mini = dict(model=dict(data_preprocessor=dict(pad_size_divisor=384)))
