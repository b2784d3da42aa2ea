# Table 1a on FCOS: positives weighted by centerness: AP 37.9 on val.
# 8 GPUs x 2 images, lr 0.01.
_base_ = './gfl-fcos_ctr-branch_dirac_r50_fpn_1x_coco.py'
model = dict(bbox_head=dict(quality='centerness_guided'))
