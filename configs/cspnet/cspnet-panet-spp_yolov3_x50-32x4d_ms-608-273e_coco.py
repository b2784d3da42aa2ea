# CSPResNeXt50-PANet-SPP; its loss is that of YOLOv3 (MSE). Officially, with
# other training, 41.2 on test-dev at 608. 8 GPUs x 8 images, lr 0.001.
_base_ = [
    'mmdet::yolo/yolov3_d53_8xb8-ms-608-273e_coco.py',
    '../_base_/cspnet_yolov3.py',
]
custom_imports = dict(imports=['mmdet_assigners'], allow_failed_imports=False)
model = dict(
    backbone=dict(_delete_=True, **_base_.cspnet_yolov3_x50),
    neck=dict(
        _delete_=True,
        type='SPPPANNeck',
        in_channels=[512, 1024, 2048],
        out_channels=[128, 256, 512],
    ),
    bbox_head=dict(type='FlatYOLOV3Head', clip_detections=True),
    train_cfg=dict(assigner=dict(type='BatchGridAssigner')),
)
mini_neck = dict(in_channels=[64, 128, 256], out_channels=[16, 32, 64])
mini = dict(model=dict(neck=mini_neck))
