# Table 2: positives by FCOS's spatial and scale constraint, box regression: AP
# 37.8 on val.
# 8 GPUs x 2 images, lr 0.01.
_base_ = './atss-ladder_iou-box_r50_fpn_1x_coco.py'
model = dict(train_cfg=dict(assigner=dict(_delete_=True, type='SSCAssigner')))
