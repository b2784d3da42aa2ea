# Double-Head R-50, 1x, the network of the paper: each head does its own task.
# mmdet's Double-Head has two more bottlenecks in place of non-local blocks.
# 8 GPUs x 2 images, lr 0.02.
_base_ = './double-head-ext_faster-rcnn_r50_fpn_1x_coco.py'
model = dict(
    roi_head=dict(
        bbox_head=dict(lambda_fc=1.0, lambda_conv=1.0, test_mode='fc_conv')
    )
)
