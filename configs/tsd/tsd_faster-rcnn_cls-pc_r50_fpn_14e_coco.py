# The constraint on classification alone: AP 40.1 on val in the paper.
# 8 GPUs x 2 images, lr 0.02.
_base_ = './tsd_faster-rcnn_r50_fpn_14e_coco.py'
model = dict(roi_head=dict(bbox_head=dict(loc_pc_margin=None)))
