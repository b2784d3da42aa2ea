# For the released X-101-64x4d DCNv2 checkpoint (AP 47.5): the official input,
# BGR and not divided by a deviation. Convert the file with
# `mmdet-assigners convert borderdet` first.
_base_ = './borderdet_x101-64x4d-dcnv2_fpn_ms-2x_coco.py'
model = dict(
    data_preprocessor=dict(
        mean=[103.53, 116.28, 123.675], std=[1.0, 1.0, 1.0], bgr_to_rgb=False
    )
)
