# HAMBox's compensation for the RPN: not in the paper. mmdet's RPN has AR@1000
# 58.2. K and T are our choice. 8 GPUs x 2 images, lr 0.02.
_base_ = 'mmdet::rpn/rpn_r50_fpn_1x_coco.py'
custom_imports = dict(imports=['mmdet_assigners'], allow_failed_imports=False)
model = dict(
    rpn_head=dict(type='HAMBoxRPNHead'),
    train_cfg=dict(
        rpn=dict(
            assigner=dict(
                _delete_=True,
                type='HAMBoxAssigner',
                pos_iou_thr=0.7,
                neg_iou_thr=0.3,
                match_low_quality=True,
                min_pos_iou=0.3,
                online_iou_thr=0.7,
                topk=9,
                ignore_pred_iou=0.7,
            )
        )
    ),
)
