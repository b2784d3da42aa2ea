# RetinaNet with KL-Loss alone, greedy NMS; not in the paper.
# 8 GPUs x 2 images, lr 0.01.
_base_ = './kl-loss_retinanet_r50_fpn_1x_coco.py'
model = dict(
    test_cfg=dict(nms=dict(_delete_=True, type='nms', iou_threshold=0.5))
)
