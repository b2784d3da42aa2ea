# DSC X-101-64x4d with DCN, multi-scale, 20 epochs: box AP 51.4, mask AP 44.9
# on val in the official README. 16 GPUs x 1 image, lr 0.02.
_base_ = './dsc_x101-32x4d_fpn_16xb1-20e_coco.py'
model = dict(
    backbone=dict(
        groups=64,
        dcn=dict(type='DCN', deform_groups=1, fallback_on_stride=False),
        stage_with_dcn=(False, True, True, True),
        init_cfg=dict(checkpoint='open-mmlab://resnext101_64x4d'),
    )
)
_pipeline = _base_.train_dataloader.dataset.pipeline
_resize = dict(
    type='RandomResize', scale=[(1600, 400), (1600, 1400)], keep_ratio=True
)
train_pipeline = [*_pipeline[:2], _resize, *_pipeline[3:]]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
optim_wrapper = dict(clip_grad=dict(max_norm=35, norm_type=2))
