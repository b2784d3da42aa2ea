# SpineNet-49S under RetinaNet at 640, protocol B with the official losses and
# paddings, for the official checkpoint: AP 39.5 on val.
# 8 GPUs x 8 images, lr 0.07.
_base_ = './spinenet_retinanet_49s_640-350e_coco.py'
model = dict(
    backbone=_base_.spinenet_tf_backbone,
    bbox_head=_base_.spinenet_tf_head,
    test_cfg=_base_.spinenet_tf_test,
)
optim_wrapper = _base_.spinenet_c_sgd
