# Ablation: the optimal bias without the guided loss. AP 36.2 on val at a score
# threshold of 0.005 (table 1b), 35.7 at 0.05 (table 3).
# 8 GPUs x 2 images, lr 0.01.
_base_ = './sampling-free_retinanet_r50_fpn_1x_coco.py'
model = dict(bbox_head=dict(guided=False))
