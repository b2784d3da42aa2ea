# DSFPN, Faster R-CNN, with the smooth L1 loss of the official code in place of
# mmdet's L1.
# 8 GPUs x 2 images, lr 0.02.
_base_ = './dsfpn_faster-rcnn_r50_fpn_1x_coco.py'
model = dict(
    roi_head=dict(
        bbox_head=dict(
            loss_bbox=dict(_delete_=True, type='SmoothL1Loss', beta=1.0)
        )
    )
)
