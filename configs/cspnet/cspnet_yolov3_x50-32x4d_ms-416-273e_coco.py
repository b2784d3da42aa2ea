# CSPResNeXt-50 under YOLOv3; the paper has no such row. mmdet's Darknet-53:
# 30.9. 8 GPUs x 8 images, lr 0.001.
_base_ = [
    'mmdet::yolo/yolov3_d53_8xb8-ms-416-273e_coco.py',
    '../_base_/cspnet_yolov3.py',
]
custom_imports = dict(imports=['mmdet_assigners'], allow_failed_imports=False)
model = dict(
    backbone=dict(_delete_=True, **_base_.cspnet_yolov3_x50),
    neck=dict(in_channels=[2048, 1024, 512]),
    bbox_head=dict(type='FlatYOLOV3Head'),
    train_cfg=dict(assigner=dict(type='BatchGridAssigner')),
)
mini = dict(model=dict(neck=dict(in_channels=[256, 128, 64])))
