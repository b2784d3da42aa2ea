# For the released R-50 checkpoint (AP 39.3): Caffe-style backbone and input,
# biases in the towers, the official anchors, ReLU before P7, and the official
# score. Convert the file with `mmdet-assigners convert atss` first.
_base_ = [
    './atss-ladder_official-rules_r50_fpn_1x_coco.py',
    '../_base_/detectron_parts.py',
]
model = dict(
    data_preprocessor=_base_.detectron_input,
    backbone=_base_.detectron_backbone,
    neck=dict(relu_before_extra_convs=True),
    bbox_head=dict(
        conv_bias=True,
        # officially s / 2 for stride s in inclusive pixels, half a pixel more
        # in exclusive ones
        anchor_generator=dict(
            centers=[((s + 1) / 2,) * 2 for s in (8, 16, 32, 64, 128)]
        ),
        **_base_.detectron_coder,
    ),
)
