# Ablation: the depressed share rises and falls linearly instead of in steps
# (schedule 6 of the official code). 8 GPUs x 2 images, lr 0.01.
_base_ = './mal_r50_fpn_18e_coco.py'
model = dict(bbox_head=dict(depression=dict(schedule=6)))
