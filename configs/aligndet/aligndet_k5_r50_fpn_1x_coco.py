# Table 6: 5x5 bins. AP 37.2 on val. 8 GPUs x 2 images, lr 0.01.
_base_ = './aligndet_r50_fpn_1x_coco.py'
model = dict(bbox_head=dict(align_head=dict(kernel_size=5)))
