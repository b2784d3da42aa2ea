# BorderDet R-50, 1x: AP 41.4 on val (official model zoo; FCOS there: 38.7).
# 8 GPUs x 2 images, lr 0.01.
_base_ = (
    'mmdet::fcos/'
    'fcos_r50-caffe_fpn_gn-head-center-normbbox-centeronreg-giou_1x_coco.py'
)
custom_imports = dict(imports=['mmdet_assigners'], allow_failed_imports=False)
model = dict(
    bbox_head=dict(
        type='BorderDetHead',
        border_cls_channels=256,
        border_reg_channels=128,
        pool_size=10,
        border_iou_thr=0.6,
        border_std=0.5,
        point_offset=0.0,
        loss_bbox=dict(eps=1.1920929e-07),
    )
)
optim_wrapper = dict(paramwise_cfg=None)  # biases as all others: official
mini = dict(
    model=dict(bbox_head=dict(border_cls_channels=64, border_reg_channels=32))
)
