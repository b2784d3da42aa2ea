# One positive per object, objectness ignored by predicted boxes: Darknet.
# 8 GPUs x 8 images, lr 0.001.
_base_ = './gaussian-yolov3_d53_ms-608-273e_coco.py'
model = dict(
    train_cfg=dict(assigner=dict(_delete_=True, type='DarknetGridAssigner'))
)
