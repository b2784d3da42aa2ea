# For the released checkpoint of R-50 with all improvements (AP 38.7): biases
# in the towers, distances to the last pixels of a box. Convert the file with
# `mmdet-assigners convert fcos` first.
_base_ = (
    './fcos_ctr-on-reg-center-giou-normbbox_r50-caffe_fpn_gn-head_1x_coco.py'
)
model = dict(bbox_head=dict(conv_bias=True, inclusive_corners=True))
