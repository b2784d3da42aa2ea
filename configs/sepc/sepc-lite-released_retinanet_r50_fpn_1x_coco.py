# For the released checkpoint of RetinaNet + SEPC-lite (AP 38.5): no padding
# in the two last convs, anchors of mmdet 1.x. Convert the file with
# `mmdet-assigners convert sepc` first.
# 8 GPUs (assumed) x 4 images, lr 0.01.
_base_ = [
    './sepc-lite_retinanet_r50_fpn_1x_coco.py',
    '../_base_/sepc_parts.py',
]
model = dict(
    neck=[_base_.model.neck[0], dict(_base_.model.neck[1], head_padding=0)],
    bbox_head=_base_.sepc_anchors,
)
# without padding the coarsest level (stride 128) needs 3x3 cells
mini = dict(model=dict(data_preprocessor=dict(pad_size_divisor=384)))
