# MAL R-50, short side 800, 18 epochs (official: 135k iterations of 16, lr / 10
# at 90k and 120k): AP 39.2 in the official repository, which says test-dev;
# figure 6 of the paper has it on val.
# 8 GPUs x 2 images, lr 0.01.
_base_ = 'mmdet::free_anchor/freeanchor_r50_fpn_1x_coco.py'
custom_imports = dict(imports=['mmdet_assigners'], allow_failed_imports=False)
model = dict(
    bbox_head=dict(
        type='MALRetinaHead',
        pre_anchor_topk=40,
        selection='mean_max',
        depression=dict(type='spatial', schedule=5, keep=0.25),
    )
)
param_scheduler = [
    _base_.param_scheduler[0],
    dict(_base_.param_scheduler[1], end=18, milestones=[12, 16]),
]
train_cfg = dict(max_epochs=18)
custom_hooks = [dict(type='TrainProgressHook')]  # the depression's schedule
