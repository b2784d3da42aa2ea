# Tables 1a and 3: QFL alone, one number per side: AP 39.9 on val. 8 GPUs x 2
# images, lr 0.01.
_base_ = './gfl-ablation_r50_fpn_1x_coco.py'
model = dict(bbox_head=dict(reg_prior='dirac'))
