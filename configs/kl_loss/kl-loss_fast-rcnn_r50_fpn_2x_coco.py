# KL-Loss Fast R-CNN R-50 on proposal files, 2x. The paper has such rows.
# 8 GPUs x 2 images, lr 0.02.
_base_ = [
    'mmdet::fast_rcnn/fast-rcnn_r50_fpn_2x_coco.py',
    '../_base_/fast_rcnn_mini.py',
]
custom_imports = dict(imports=['mmdet_assigners'], allow_failed_imports=False)
model = dict(
    roi_head=dict(
        type='KLRoIHead',
        bbox_head=dict(
            type='KLBBoxHead',
            bbox_coder=dict(_delete_=True, type='CornerDeltaBBoxCoder'),
            loss_bbox=dict(_delete_=True, type='KLLoss'),
        ),
    ),
    test_cfg=dict(
        rcnn=dict(nms=dict(type='var_voting', sigma_units='normalized'))
    ),
)
