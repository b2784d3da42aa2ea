# Variant: location labels as mmdet 3 trains them, centers as background.
# 8 GPUs x 2 images, lr 0.02.
_base_ = './batch-ga-rpn_r50-caffe_fpn_1x_coco.py'
model = dict(rpn_head=dict(invert_loc_target=True))
