# The part of the small-scale overlay that is the same for every method.
# `--mini` merges it over a COCO config after mmdet_assigners.small_scale has
# shrunk the model and the images. Training starts from random weights, where
# SGD is slow: RetinaNet on BCCD, 4 epochs of batch 4, reaches 0.002 mAP with
# SGD at 0.01 and 0.21 with AdamW at 0.001.
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='AdamW', lr=1e-3, weight_decay=0.05)
)
default_hooks = dict(
    logger=dict(interval=10),
    # two are kept: one is deleted before the next is written
    checkpoint=dict(interval=1, max_keep_ckpts=2),
)
auto_scale_lr = dict(enable=False)
env_cfg = dict(dist_cfg=dict(backend='gloo'))
