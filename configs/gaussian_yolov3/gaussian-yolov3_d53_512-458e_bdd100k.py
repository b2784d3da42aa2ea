# Gaussian YOLOv3 on BDD100K, tested at 512. The paper's abstract: mAP at IoU
# 0.75 rises by 3.5.
# 8 GPUs x 8 images, lr 0.0001.
_base_ = [
    '../_base_/yolov3_bdd100k.py',
    '../_base_/gaussian_yolov3_parts.py',
]
custom_imports = dict(imports=['mmdet_assigners'], allow_failed_imports=False)
_head = {**_base_.gaussian_yolov3_head, **_base_.bdd_head}
model = dict(
    bbox_head=dict(_delete_=True, **_head),
    train_cfg=dict(assigner=dict(type='BatchGridAssigner')),
)
