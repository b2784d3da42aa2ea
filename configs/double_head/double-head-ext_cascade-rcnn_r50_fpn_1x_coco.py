# Cascade R-CNN R-50, 1x, whose stages are double heads. Not in the paper.
# 8 GPUs x 2 images, lr 0.02.
_base_ = 'mmdet::cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco.py'
custom_imports = dict(imports=['mmdet_assigners'], allow_failed_imports=False)
_double = dict(type='DoubleHeadExtBBoxHead', conv_out_channels=1024)
model = dict(
    roi_head=dict(
        type='DoubleHeadExtCascadeRoIHead',
        bbox_head=[
            dict(head, **_double) for head in _base_.model.roi_head.bbox_head
        ],
    ),
    train_cfg=dict(rpn=dict(assigner=dict(type='BoundedMaxIoUAssigner'))),
)
_small = {str(stage): dict(conv_out_channels=64) for stage in range(3)}
mini = dict(model=dict(roi_head=dict(bbox_head=_small)))
