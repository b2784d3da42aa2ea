# Improvements 3 of 4: + GIoU. AP 38.3 on val in the paper.
# 8 GPUs x 2 images, lr 0.01.
_base_ = './fcos_ctr-on-reg-center_r50-caffe_fpn_gn-head_1x_coco.py'
model = dict(
    bbox_head=dict(
        loss_bbox=dict(_delete_=True, type='GIoULoss', loss_weight=1.0)
    )
)
