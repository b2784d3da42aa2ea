# For the released R-50 checkpoint (AP 40.2): anchors of mmdet 1.x, distances
# to the last pixels of a box. Convert the file with `mmdet-assigners convert
# gfl` first.
# 8 GPUs x 2 images, lr 0.01.
_base_ = './gfl-ablation_r50_fpn_1x_coco.py'
model = dict(
    bbox_head=dict(
        inclusive_corners=True,
        anchor_generator=dict(
            centers=[((s - 1) / 2,) * 2 for s in (8, 16, 32, 64, 128)]
        ),
    )
)
