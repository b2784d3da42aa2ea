# Boxes instead of points, one anchor: AP 36.3 on val2017 in the official
# repository. 8 GPUs x 2 images, lr 0.01.
_base_ = './batch-reppoints-bbox-center_r50_fpn-gn_1x_coco.py'
model = dict(
    train_cfg=dict(
        init=dict(
            assigner=dict(
                _delete_=True,
                type='BatchMaxIoUAssigner',
                pos_iou_thr=0.5,
                neg_iou_thr=0.4,
            )
        )
    )
)
