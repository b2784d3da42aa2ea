# BorderDet as proposal network, in a design of our own: the official code
# doesn't have one.
# 8 GPUs x 2 images, lr 0.01.
_base_ = 'mmdet::rpn/rpn_r50-caffe_fpn_1x_coco.py'
custom_imports = dict(imports=['mmdet_assigners'], allow_failed_imports=False)
model = dict(
    neck=dict(
        start_level=1,
        add_extra_convs='on_output',
        relu_before_extra_convs=True,
    ),
    rpn_head=dict(
        _delete_=True, type='BorderRPNHead', in_channels=256, feat_channels=256
    ),
    train_cfg=dict(rpn=dict(assigner=dict(type='BoundedMaxIoUAssigner'))),
)
optim_wrapper = dict(optimizer=dict(lr=0.01))
mini = dict(
    model=dict(
        rpn_head=dict(
            stacked_convs=2, border_cls_channels=64, border_reg_channels=32
        )
    )
)
