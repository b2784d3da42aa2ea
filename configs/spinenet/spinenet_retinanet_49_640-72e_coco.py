# SpineNet-49 under RetinaNet at 640, 72 epochs: AP 37.7 on val.
# 8 GPUs x 8 images, lr 0.07.
_base_ = './spinenet_retinanet_49_640-350e_coco.py'
train_cfg = dict(max_epochs=72)
steps = dict(_base_.spinenet_steps, milestones=[42, 62], end=72)
param_scheduler = [_base_.spinenet_warmup, steps]
