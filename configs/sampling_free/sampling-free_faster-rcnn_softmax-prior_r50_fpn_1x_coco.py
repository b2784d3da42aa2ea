# The optimal bias in the R-CNN head too; not in the official code. N_f / N of
# the proposals changes while the RPN learns: 0.01 is a rough guess.
# 8 GPUs x 2 images, lr 0.02.
_base_ = './sampling-free_faster-rcnn_r50_fpn_1x_coco.py'
model = dict(roi_head=dict(bbox_head=dict(prior_prob=0.01)))
