# Table 3: RetinaNet's score threshold. AP 36.1 on val.
# 8 GPUs x 2 images, lr 0.01.
_base_ = './sampling-free_retinanet_r50_fpn_1x_coco.py'
model = dict(test_cfg=dict(score_thr=0.05))
