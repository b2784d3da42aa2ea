# All rules of the official code: assignment, gradients, threshold and boxes
# clipped to the image.
# 8 GPUs x 8 images, lr 0.001.
_base_ = './gaussian-yolov3_d53_ms-608-273e_coco.py'
model = dict(
    bbox_head=dict(
        straight_through=True, threshold_product=True, clip_detections=True
    ),
    train_cfg=dict(assigner=dict(_delete_=True, type='DarknetGridAssigner')),
)
