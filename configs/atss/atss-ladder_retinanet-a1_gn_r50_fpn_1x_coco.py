# Table 1: RetinaNet #A=1 with GN: AP 33.4 on val. 8 GPUs x 2 images, lr 0.01.
_base_ = './atss-ladder_retinanet-a1_gn-giou_r50_fpn_1x_coco.py'
model = dict(
    bbox_head=dict(
        loss_bbox=dict(
            _delete_=True, type='SmoothL1Loss', beta=0.11, loss_weight=1.0
        )
    )
)
