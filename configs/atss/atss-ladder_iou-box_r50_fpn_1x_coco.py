# Table 1, last step, and table 2: RetinaNet #A=1 with all improvements,
# positives by IoU, box regression: AP 37.0 on val.
# 8 GPUs x 2 images, lr 0.01.
_base_ = './atss-ladder_r50_fpn_1x_coco.py'
model = dict(
    train_cfg=dict(
        assigner=dict(
            _delete_=True,
            type='CenterInGTMaxIoUAssigner',
            pos_iou_thr=0.5,
            neg_iou_thr=0.4,
        )
    )
)
