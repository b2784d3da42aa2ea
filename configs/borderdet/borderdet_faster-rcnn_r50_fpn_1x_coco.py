# Faster R-CNN on proposals of BorderDet, in a design of our own: the official
# code doesn't have it.
# 8 GPUs x 2 images, lr 0.02.
_base_ = 'mmdet::faster_rcnn/faster-rcnn_r50_fpn_fcos-rpn_1x_coco.py'
custom_imports = dict(imports=['mmdet_assigners'], allow_failed_imports=False)
model = dict(
    rpn_head=dict(
        _delete_=True, type='BorderRPNHead', in_channels=256, feat_channels=256
    ),
    train_cfg=dict(rpn=dict(assigner=dict(type='BoundedMaxIoUAssigner'))),
)
mini = dict(
    model=dict(
        rpn_head=dict(
            stacked_convs=2, border_cls_channels=64, border_reg_channels=32
        )
    )
)
