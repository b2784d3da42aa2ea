# Ablation: 50 anchors per bag, the paper's best (from a secondary source); the
# official R-50 config has 40. 8 GPUs x 2 images, lr 0.01.
_base_ = './mal_r50_fpn_18e_coco.py'
model = dict(bbox_head=dict(pre_anchor_topk=50))
