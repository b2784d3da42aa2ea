"""CSPResNeXt-50 under YOLOv3, and at small scale an eighth of its channels."""

_base_ = './yolov3_narrow.py'
cspnet_yolov3_x50 = dict(
    type='CSPResNeXt',
    out_indices=(1, 2, 3),
    norm_eval=False,
    init_cfg=dict(type='Pretrained', checkpoint='checkpoints/csresnext50.pth'),
)
mini = dict(model=dict(backbone=dict(widen_factor=1 / 8, groups=4)))
