# Baseline, anchors alone (RetinaNet): AP 35.7 on val in the paper.
# 8 GPUs x 2 images, lr 0.01.
_base_ = 'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py'
custom_imports = dict(imports=['mmdet_assigners'], allow_failed_imports=False)
auto_scale_lr = dict(base_batch_size=16)
