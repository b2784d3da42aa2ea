# KL-Loss Mask R-CNN R-50, soft-NMS with variance voting, 2x: box AP 40.4 on
# val (the paper's 1.8 above Detectron's 38.6).
# 8 GPUs x 2 images, lr 0.02.
_base_ = 'mmdet::mask_rcnn/mask-rcnn_r50_fpn_2x_coco.py'
custom_imports = dict(imports=['mmdet_assigners'], allow_failed_imports=False)
_coder = dict(_delete_=True, type='CornerDeltaBBoxCoder')
model = dict(
    rpn_head=dict(bbox_coder=dict(_coder, target_stds=1.0)),
    roi_head=dict(
        type='KLRoIHead',
        bbox_head=dict(
            type='KLBBoxHead',
            bbox_coder=dict(_coder, target_stds=0.1),
            loss_bbox=dict(_delete_=True, type='KLLoss'),
        ),
    ),
    test_cfg=dict(
        rcnn=dict(nms=dict(type='var_voting', sigma_units='normalized'))
    ),
    train_cfg=dict(rpn=dict(assigner=dict(type='BoundedMaxIoUAssigner'))),
)
