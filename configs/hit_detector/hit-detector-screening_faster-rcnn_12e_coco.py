# Step 1 of the search: which operations of the common space each part keeps.
# Weight of the column penalty, epochs and learning rates are ours. 8 GPUs x 2
# images, lr 0.02.
_base_ = './hit-detector_faster-rcnn_1x_coco.py'
model = dict(
    type='SearchFasterRCNN',
    constraint=dict(mu=1e-2),
    # candidates are computed again in the backward pass, for the memory
    backbone=dict(type='SearchableBackbone', with_cp=True, init_cfg=None),
    neck=dict(type='SearchableNeck', with_cp=True),
    roi_head=dict(bbox_head=dict(type='SearchableBBoxHead', with_cp=True)),
)
train_cfg = dict(type='BilevelSearchLoop', arch_begin=1 / 3, val_interval=12)
optim_wrapper = _base_.hit_optimizers
param_scheduler = _base_.hit_search_schedule
custom_hooks = [dict(type='ArchDeriveHook', keep=dict(head=6))]
mini = _base_.hit_mini_search
