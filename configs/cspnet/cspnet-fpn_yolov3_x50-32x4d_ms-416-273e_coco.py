# Ablation of EFM: each level gets the coarser level.
# 8 GPUs x 8 images, lr 0.001.
_base_ = './cspnet-efm_yolov3_x50-32x4d_ms-416-273e_coco.py'
model = dict(neck=dict(mode='fpn'))
mini = dict(model=dict(neck=dict(mode='fpn')))
