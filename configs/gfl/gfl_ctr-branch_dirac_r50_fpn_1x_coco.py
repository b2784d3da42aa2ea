# Tables 1a, 2a and 3: the baseline, ATSS: AP 39.2 on val. 8 GPUs x 2 images,
# lr 0.01.
_base_ = './gfl_ctr-branch_r50_fpn_1x_coco.py'
model = dict(bbox_head=dict(reg_prior='dirac'))
