# SaccadeNet, ResNet-18. AP 30.5, flip test 32.5.
# 4 GPUs x 8 images, lr 0.000125.
_base_ = '../centernet/centernet_r18-dcnv2_crop512-140e_coco.py'
model = dict(bbox_head=dict(type='SaccadeHead'))
# five passes over the images in each of 46 epochs
train_cfg = dict(max_epochs=46)
param_scheduler = [
    dict(type='MultiStepLR', begin=0, end=46, milestones=[36, 42], gamma=0.1)
]
train_dataloader = dict(batch_size=8)
optim_wrapper = dict(optimizer=dict(lr=1.25e-4))
auto_scale_lr = dict(base_batch_size=32)
