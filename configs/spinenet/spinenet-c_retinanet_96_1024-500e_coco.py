# SpineNet-96 under RetinaNet at 1024, protocol C with the official losses:
# AP 48.5 on val. 8 GPUs x 8 images, lr 0.07.
_base_ = './spinenet_retinanet_96_1024-350e_coco.py'
model = dict(
    backbone=_base_.spinenet_c_backbone,
    bbox_head=_base_.spinenet_c_head,
    test_cfg=_base_.spinenet_tf_test,
)
optim_wrapper = _base_.spinenet_c_sgd
train_cfg = dict(max_epochs=500)
steps = dict(_base_.spinenet_steps, milestones=[470, 490], end=500)
param_scheduler = [_base_.spinenet_warmup, steps]
