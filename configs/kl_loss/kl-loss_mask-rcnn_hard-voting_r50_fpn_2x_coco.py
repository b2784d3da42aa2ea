# Variance voting in greedy instead of soft NMS. 8 GPUs x 2 images, lr 0.02.
_base_ = './kl-loss_mask-rcnn_r50_fpn_2x_coco.py'
model = dict(test_cfg=dict(rcnn=dict(nms=dict(mode='hard'))))
