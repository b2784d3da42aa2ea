# For the released X-101-32x8d checkpoint (AP 45.6): the official input, BGR
# and not divided by a deviation. Convert the file with
# `mmdet-assigners convert borderdet` first.
_base_ = './borderdet_x101-32x8d_fpn_ms-2x_coco.py'
model = dict(
    data_preprocessor=dict(
        mean=[103.53, 116.28, 123.675], std=[1.0, 1.0, 1.0], bgr_to_rgb=False
    )
)
