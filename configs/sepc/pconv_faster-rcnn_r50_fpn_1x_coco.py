# PConv as the neck of a two-stage detector: "about +2 AP" in the paper's
# abstract, no table and no official config; 4 PConvs as in one stage.
# 8 GPUs x 2 images, lr 0.02 (the baseline's).
_base_ = 'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'
custom_imports = dict(imports=['mmdet_assigners'], allow_failed_imports=False)
model = dict(
    neck=[
        _base_.model.neck,
        dict(
            type='SEPC',
            in_channels=256,
            out_channels=256,
            num_levels=5,
            task_convs=False,
        ),
    ],
    train_cfg=dict(rpn=dict(assigner=dict(type='BoundedMaxIoUAssigner'))),
)
mini = dict(model=dict(neck={'1': dict(pconv_num=2)}))
