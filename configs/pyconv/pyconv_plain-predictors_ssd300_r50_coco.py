# PyConvSSD with the predictors of SSD: PyConvs in the backbone and in the
# layers that give the maps of 19, 10 and 5 cells. The levels of each are our
# reading. 8 GPUs x 8 images, lr 0.002.
_base_ = './pyconv-off_ssd300_r50_coco.py'
weights = 'checkpoints/pyconvresnet50.pth'
model = dict(
    backbone=dict(
        _delete_=True,
        type='PyConvResNet',
        depth=50,
        num_stages=3,
        strides=(2, 2, 1),
        out_indices=(2,),
        norm_eval=False,
        init_cfg=dict(type='Pretrained', checkpoint=weights),
    ),
    neck=dict(type='PyConvSSDNeck', levels=(4, 3, 2, 1, 1)),
)
_narrow = dict(
    _delete_=True,
    depth=18,
    stem_channels=16,
    base_channels=16,
    groups=((1, 4, 4, 4), (1, 4, 8), (1, 4)),
)
mini = dict(model=dict(backbone=_narrow))
