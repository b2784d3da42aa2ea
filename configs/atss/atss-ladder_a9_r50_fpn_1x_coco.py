# Table 7: ATSS, 3 scales x 3 ratios, 81 candidates per level: AP 39.2 on val.
# 8 GPUs x 2 images, lr 0.01.
_base_ = './atss-ladder_r50_fpn_1x_coco.py'
model = dict(
    bbox_head=dict(
        anchor_generator=dict(
            octave_base_scale=4, scales_per_octave=3, ratios=[0.5, 1.0, 2.0]
        )
    )
)
