# SpineNet-49 under RetinaNet at 640, protocol A: AP 40.8 on val. DropBlock's
# numbers are those of its own paper. 8 GPUs x 8 images, lr 0.07.
_base_ = './spinenet_retinanet_49_640-350e_coco.py'
train_pipeline = _base_.train_pipeline
train_pipeline[2].ratio_range = (0.8, 1.2)
model = dict(backbone=dict(drop_block=dict(drop_prob=0.1, size=7)))
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
train_cfg = dict(max_epochs=250)
steps = dict(_base_.spinenet_steps, milestones=[220, 240], end=250)
param_scheduler = [_base_.spinenet_warmup, steps]
