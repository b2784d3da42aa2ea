# KL-Loss and variance voting in RetinaNet R-50, 1x; not in the paper.
# 8 GPUs x 2 images, lr 0.01.
_base_ = 'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py'
custom_imports = dict(imports=['mmdet_assigners'], allow_failed_imports=False)
assigner = dict(type='BatchMaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4)
model = dict(
    bbox_head=dict(
        type='KLRetinaHead',
        bbox_coder=dict(
            _delete_=True, type='CornerDeltaBBoxCoder', target_stds=0.1
        ),
        loss_bbox=dict(_delete_=True, type='KLLoss'),
    ),
    train_cfg=dict(assigner=dict(_delete_=True, **assigner)),
    test_cfg=dict(nms=dict(type='var_voting', sigma_units='normalized')),
)
