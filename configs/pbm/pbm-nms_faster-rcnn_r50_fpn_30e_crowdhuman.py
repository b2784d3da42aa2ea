# Ablation: PBM with NMS of the full boxes.
# 8 GPUs x 2 images, lr 0.002.
_base_ = './pbm_faster-rcnn_r50_fpn_30e_crowdhuman.py'
model = dict(test_cfg=dict(rcnn=dict(nms=dict(type='nms'))))
