# Table 5: anchors of 9 strides: AP 38.9 on val. 8 GPUs x 2 images, lr 0.01.
_base_ = './atss-ladder_r50_fpn_1x_coco.py'
model = dict(bbox_head=dict(anchor_generator=dict(octave_base_scale=9)))
