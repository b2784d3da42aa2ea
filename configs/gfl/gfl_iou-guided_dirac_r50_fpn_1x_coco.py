# Table 1a: positives weighted by IoU: AP 38.9 on val.
# 8 GPUs x 2 images, lr 0.01.
_base_ = './gfl_ctr-branch_dirac_r50_fpn_1x_coco.py'
model = dict(bbox_head=dict(quality='iou_guided'))
