# Table 1c: beta 4: AP 38.2 on val. 8 GPUs x 2 images, lr 0.01.
_base_ = './gfl_dirac_r50_fpn_1x_coco.py'
model = dict(bbox_head=dict(loss_cls=dict(beta=4.0)))
