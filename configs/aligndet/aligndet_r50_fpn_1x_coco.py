# AlignDet R-50, 1x, the official configuration: AP 37.9 on val (tables 3 and
# 6).
# 8 GPUs x 2 images, lr 0.01.
_base_ = './aligndet_stage-1_r50_fpn_1x_coco.py'
model = dict(
    bbox_head=dict(
        type='AlignDetHead',
        align_head=dict(
            type='AlignStageHead', mid_channels=1024, kernel_size=7
        ),
    ),
    train_cfg=dict(
        align_assigner=dict(
            type='BatchMaxIoUAssigner', pos_iou_thr=0.7, neg_iou_thr=0.7
        )
    ),
)
