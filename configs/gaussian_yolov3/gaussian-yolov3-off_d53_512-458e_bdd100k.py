# YOLOv3 on BDD100K, the baseline, tested at 512. 8 GPUs x 8 images, lr 0.0001.
_base_ = [
    '../_base_/yolov3_bdd100k.py',
    '../_base_/gaussian_yolov3_parts.py',
]
custom_imports = dict(imports=['mmdet_assigners'], allow_failed_imports=False)
model = dict(
    bbox_head=dict(type='FlatYOLOV3Head', **_base_.bdd_head),
    train_cfg=dict(assigner=dict(type='BatchGridAssigner')),
)
