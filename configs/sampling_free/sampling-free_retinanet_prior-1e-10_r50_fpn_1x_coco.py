# Ablation: a prior far below the optimum.
# The AP isn't known to us. 8 GPUs x 2 images, lr 0.01.
_base_ = './sampling-free_retinanet_r50_fpn_1x_coco.py'
model = dict(bbox_head=dict(prior_prob=1e-10))
mini = dict(model=dict(bbox_head=dict(prior_prob=1e-7)))
