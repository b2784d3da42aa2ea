# Table 2a: general distribution without DFL: AP 39.3 on val. 8 GPUs x 2
# images, lr 0.01.
_base_ = './gfl_ctr-branch_r50_fpn_1x_coco.py'
model = dict(bbox_head=dict(loss_dfl=None))
