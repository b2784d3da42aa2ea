# The branch ranks, but the box loss weights all positives equally.
# 8 GPUs x 2 images, lr 0.01.
_base_ = './fcos-ablation_r50-caffe_fpn_gn-head_1x_coco.py'
model = dict(bbox_head=dict(weight_reg_by_centerness=False))
