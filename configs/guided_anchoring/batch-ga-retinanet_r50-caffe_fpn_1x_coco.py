# GA-RetinaNet R-50 1x: AP 36.9 on val (mmdet's model zoo).
# 8 GPUs x 2 images, lr 0.01.
_base_ = [
    'mmdet::guided_anchoring/ga-retinanet_r50-caffe_fpn_1x_coco.py',
    '../_base_/ga_batch.py',
]
custom_imports = dict(imports=['mmdet_assigners'], allow_failed_imports=False)
model = _base_.batch_ga_retina
auto_scale_lr = dict(base_batch_size=16)
