# Gaussian YOLOv3, 320. 8 GPUs x 8 images, lr 0.001.
_base_ = [
    'mmdet::yolo/yolov3_d53_8xb8-320-273e_coco.py',
    '../_base_/gaussian_yolov3_parts.py',
]
custom_imports = dict(imports=['mmdet_assigners'], allow_failed_imports=False)
model = dict(
    bbox_head=dict(_delete_=True, **_base_.gaussian_yolov3_head),
    train_cfg=dict(assigner=dict(type='BatchGridAssigner')),
)
