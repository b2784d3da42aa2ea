# The official variant "ignore P3": 3x3 bins and own tower weights on P3, less
# than half of the cost. AP 37.6 on val (table 6).
# 8 GPUs x 2 images, lr 0.01.
_base_ = './aligndet_r50_fpn_1x_coco.py'
model = dict(bbox_head=dict(align_head=dict(first_kernel_size=3)))
