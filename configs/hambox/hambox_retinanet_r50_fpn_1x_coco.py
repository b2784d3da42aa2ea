# HAMBox on RetinaNet R-50, 1x COCO: not in the paper. mmdet's baseline 36.5.
# K, T and one normalizer for matched and compensated anchors are our choice.
# 8 GPUs x 2 images, lr 0.01.
_base_ = 'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py'
custom_imports = dict(imports=['mmdet_assigners'], allow_failed_imports=False)
model = dict(
    bbox_head=dict(type='HAMBoxRetinaHead', joint_normalizer=True),
    train_cfg=dict(
        assigner=dict(
            _delete_=True,
            type='HAMBoxAssigner',
            pos_iou_thr=0.5,
            neg_iou_thr=0.4,
            match_low_quality=True,
            online_iou_thr=0.6,
            topk=9,
            ignore_pred_iou=0.5,
        )
    ),
)
