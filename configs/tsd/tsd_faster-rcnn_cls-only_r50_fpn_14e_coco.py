# Only classification on a proposal of its own: AP 38.0 on val in the paper.
# 8 GPUs x 2 images, lr 0.02.
_base_ = './tsd_faster-rcnn_no-sibling_r50_fpn_14e_coco.py'
model = dict(roi_head=dict(bbox_head=dict(reg_offset='none')))
