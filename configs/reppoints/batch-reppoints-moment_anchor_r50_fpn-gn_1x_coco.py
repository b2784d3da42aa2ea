# Ablation: points start on the grid of a square and are assigned by its IoU,
# as with one anchor.
# 8 GPUs x 2 images, lr 0.01.
_base_ = './batch-reppoints-moment_r50_fpn-gn_1x_coco.py'
model = dict(
    bbox_head=dict(center_init=False),
    train_cfg=dict(
        init=dict(
            assigner=dict(
                _delete_=True,
                type='BatchMaxIoUAssigner',
                pos_iou_thr=0.5,
                neg_iou_thr=0.4,
            )
        )
    ),
)
