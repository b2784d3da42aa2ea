# Table 1c: beta 2.5: AP 39.7 on val. 8 GPUs x 2 images, lr 0.01.
_base_ = './gfl_dirac_r50_fpn_1x_coco.py'
model = dict(bbox_head=dict(loss_cls=dict(beta=2.5)))
