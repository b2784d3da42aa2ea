# CSPResNeXt-50 under YOLOv3; the paper has no such row. mmdet's Darknet-53:
# 30.9. 8 GPUs x 8 images, lr 0.001.
_base_ = [
    'mmdet::yolo/yolov3_d53_8xb8-ms-416-273e_coco.py',
    '../_base_/yolov3_narrow.py',
]
custom_imports = dict(imports=['mmdet_assigners'], allow_failed_imports=False)
model = dict(
    backbone=dict(
        _delete_=True,
        type='CSPResNeXt',
        out_indices=(1, 2, 3),
        norm_eval=False,
        init_cfg=dict(
            type='Pretrained', checkpoint='checkpoints/csresnext50.pth'
        ),
    ),
    neck=dict(in_channels=[2048, 1024, 512]),
    bbox_head=dict(type='FlatYOLOV3Head'),
    train_cfg=dict(assigner=dict(type='BatchGridAssigner')),
)
mini = dict(
    model=dict(
        backbone=dict(widen_factor=1 / 8, groups=4),
        neck=dict(in_channels=[256, 128, 64]),
    )
)
