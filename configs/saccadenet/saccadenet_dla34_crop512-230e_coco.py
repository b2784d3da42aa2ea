# SaccadeNet, DLA-34, 2x. AP 38.5, flip test 40.4.
# 4 GPUs x 8 images, lr 0.000125.
_base_ = './saccadenet_dla34_crop512-140e_coco.py'
# five passes over the images in each of 46 epochs
train_cfg = dict(max_epochs=46)
param_scheduler = [
    dict(type='MultiStepLR', begin=0, end=46, milestones=[36, 42], gamma=0.1)
]
