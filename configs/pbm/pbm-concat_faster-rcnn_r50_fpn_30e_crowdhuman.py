# Ablation: features of both proposals side by side, without visible attention.
# 8 GPUs x 2 images, lr 0.002.
_base_ = './pbm_faster-rcnn_r50_fpn_30e_crowdhuman.py'
model = dict(roi_head=dict(bbox_roi_extractor=dict(mode='concat')))
