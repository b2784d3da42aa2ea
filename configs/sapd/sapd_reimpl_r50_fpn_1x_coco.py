# Variant: label assignment of the re-implementation xuannianz/SAPD (its
# backbone, neck, optimizer and data differ). 8 GPUs x 2 images, lr 0.01.
_base_ = './sapd_r50_fpn_1x_coco.py'
model = dict(
    bbox_head=dict(
        topk=5,
        min_one_cell=True,
        unselected='hide',
        detach_level_weights=False,
    )
)
