# CornerNet with one hourglass, Hourglass-52, otherwise as in mmdet.
# 8 GPUs x 6 images, lr 0.0005.
_base_ = './cornernet_hourglass104_8xb6-crop511-210e_coco.py'
model = dict(
    backbone=dict(_delete_=True, type='SingleHourglassNet'),
    bbox_head=dict(num_feat_levels=1),
)
