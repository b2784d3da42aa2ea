# Variant: the regions of mmdet's FSAFHead, 0.2 positive and nothing ignored
# around it (AP 37.4 on val in mmdet, with gradient clipping).
# 8 GPUs x 2 images, lr 0.01.
_base_ = './fsaf_paper_r50_fpn_1x_coco.py'
model = dict(
    bbox_head=dict(
        ignore_scale=0.2, ignore_adjacent_levels=False, unselected='ignore'
    )
)
