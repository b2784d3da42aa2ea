# GA-RetinaNet R-101 1x: AP 39.0 on val (mmdet's model zoo).
# 8 GPUs x 2 images, lr 0.01.
_base_ = 'mmdet::guided_anchoring/ga-retinanet_r101-caffe_fpn_1x_coco.py'
custom_imports = dict(imports=['mmdet_assigners'], allow_failed_imports=False)
model = dict(
    bbox_head=dict(type='BatchGARetinaHead'),
    train_cfg=dict(
        assigner=dict(type='BoundedMaxIoUAssigner'),
        ga_assigner=dict(type='BoundedApproxMaxIoUAssigner'),
    ),
)
auto_scale_lr = dict(base_batch_size=16)
