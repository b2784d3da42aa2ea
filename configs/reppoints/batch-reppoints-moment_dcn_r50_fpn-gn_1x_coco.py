# Baseline: free offsets as in a deformable convolution, the first points are
# not supervised.
# 8 GPUs x 2 images, lr 0.01.
_base_ = './batch-reppoints-moment_full-gradient_r50_fpn-gn_1x_coco.py'
model = dict(bbox_head=dict(loss_bbox_init=dict(loss_weight=0.0)))
