# CenterNet, DLA-34, 2x. AP 37.4, flip test 39.2, multi-scale test 41.7.
# 8 GPUs x 16 images, lr 0.0005.
_base_ = './centernet_dla34_crop512-140e_coco.py'
# five passes over the images in each of 46 epochs
train_cfg = dict(max_epochs=46)
param_scheduler = [
    dict(type='MultiStepLR', begin=0, end=46, milestones=[36, 42], gamma=0.1)
]
