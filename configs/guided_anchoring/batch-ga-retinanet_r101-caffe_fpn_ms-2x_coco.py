# GA-RetinaNet R-101, 24 epochs, multi-scale: AP 41.9 on test-dev (README of
# the official code). 8 GPUs x 2 images, lr 0.01.
_base_ = [
    'mmdet::guided_anchoring/ga-retinanet_r101-caffe_fpn_ms-2x.py',
    '../_base_/ga_batch.py',
]
custom_imports = dict(imports=['mmdet_assigners'], allow_failed_imports=False)
model = _base_.batch_ga_retina
auto_scale_lr = dict(base_batch_size=16)
