# GA-RPN R-50 1x: AR@1000 68.4 on val (mmdet's model zoo).
# 8 GPUs x 2 images, lr 0.02.
_base_ = 'mmdet::guided_anchoring/ga-rpn_r50-caffe_fpn_1x_coco.py'
custom_imports = dict(imports=['mmdet_assigners'], allow_failed_imports=False)
model = dict(
    rpn_head=dict(type='BatchGARPNHead'),
    train_cfg=dict(
        rpn=dict(
            assigner=dict(type='BoundedMaxIoUAssigner'),
            ga_assigner=dict(type='BoundedApproxMaxIoUAssigner'),
        )
    ),
)
auto_scale_lr = dict(base_batch_size=16)
