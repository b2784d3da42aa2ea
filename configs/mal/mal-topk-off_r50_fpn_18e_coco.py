# Ablation: the paper's selection without depression. AP 38.27 on val in the
# paper.
# 8 GPUs x 2 images, lr 0.01.
_base_ = './mal-topk_r50_fpn_18e_coco.py'
model = dict(bbox_head=dict(depression=None))
