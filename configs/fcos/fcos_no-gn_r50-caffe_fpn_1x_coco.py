# FCOS vs RetinaNet: no GN in the head; its convolutions get a bias. AP 36.5 on
# val in the paper.
# 8 GPUs x 2 images, lr 0.01.
_base_ = './fcos-ablation_r50-caffe_fpn_gn-head_1x_coco.py'
model = dict(bbox_head=dict(norm_cfg=None))
