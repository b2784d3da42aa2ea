# The official pre-selection at test: locations instead of (location, class)
# pairs. AP 38.2 on val2017 in the official repository. 8 GPUs x 2 images, lr
# 0.01.
_base_ = './batch-reppoints-moment_r50_fpn-gn_1x_coco.py'
model = dict(test_cfg=dict(nms_pre_by='location'))
