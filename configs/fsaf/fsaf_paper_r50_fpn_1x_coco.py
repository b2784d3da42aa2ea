# FSAF anchor-free branch alone, online selection, R-50 1x: AP 35.9 on val in
# the paper. 8 GPUs x 2 images, lr 0.01. No gradient clipping (mmdet: norm 10).
_base_ = 'mmdet::fsaf/fsaf_r50_fpn_1x_coco.py'
custom_imports = dict(imports=['mmdet_assigners'], allow_failed_imports=False)
model = dict(bbox_head=dict(type='FSAFPaperHead'), train_cfg=None)
optim_wrapper = dict(clip_grad=None)
auto_scale_lr = dict(base_batch_size=16)
# bias and clipping of the baseline, mmdet's FSAF
mini = dict(
    model=dict(bbox_head=dict(distance_bias=0.25)),
    optim_wrapper=dict(
        clip_grad=dict(_delete_=True, max_norm=10, norm_type=2)
    ),
)
