# YOLOv3 without Gaussians, the baseline: AP 33.0 on test-dev in the paper;
# 33.7 on val in mmdet's table. Its config with batched losses.
# 8 GPUs x 8 images, lr 0.001.
_base_ = [
    'mmdet::yolo/yolov3_d53_8xb8-ms-608-273e_coco.py',
    '../_base_/gaussian_yolov3_parts.py',
]
custom_imports = dict(imports=['mmdet_assigners'], allow_failed_imports=False)
model = dict(
    bbox_head=dict(type='FlatYOLOV3Head'),
    train_cfg=dict(assigner=dict(type='BatchGridAssigner')),
)
