# Ablation: no feature depression, which is FreeAnchor with the bags of MAL.
# 8 GPUs x 2 images, lr 0.01.
_base_ = './mal_r50_fpn_18e_coco.py'
model = dict(bbox_head=dict(depression=None))
