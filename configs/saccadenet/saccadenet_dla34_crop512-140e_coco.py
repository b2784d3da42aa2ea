# SaccadeNet, DLA-34, 1x.
# 4 GPUs x 8 images, lr 0.000125.
_base_ = '../centernet/centernet_dla34_crop512-140e_coco.py'
model = dict(bbox_head=dict(type='SaccadeHead'))
train_dataloader = dict(batch_size=8)
optim_wrapper = dict(optimizer=dict(lr=1.25e-4))
auto_scale_lr = dict(base_batch_size=32)
