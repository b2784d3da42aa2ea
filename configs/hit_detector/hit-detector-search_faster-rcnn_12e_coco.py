# Step 2 of the search: an operation of the sub space for each layer. The sub
# spaces are the published ones; those of step 1 with model.subspace. Weight of
# the cost is ours. 8 GPUs x 2 images, lr 0.02.
_base_ = './hit-detector-screening_faster-rcnn_12e_coco.py'
_sub = dict(
    backbone=dict(candidates='sub'),
    neck=dict(candidates='sub'),
    roi_head=dict(bbox_head=dict(candidates='sub')),
)
model = dict(constraint=dict(mu=0, lam=1e-2), subspace=None, **_sub)
# small images and channels: the unit of the cost is a thousandth
_cost = dict(size=(120, 160), rois=16, unit=1e6)
mini = dict(model=dict(constraint=_cost, **_sub))
