# CSPResNeXt50-PANet-SPP-GIoU at 608: 43.1 on test-dev, with Darknet's later
# training and anchors. 8 GPUs x 8 images, lr 0.001.
_base_ = './cspnet-panet-spp-giou_yolov3_x50-32x4d_ms-512-273e_coco.py'
test_pipeline = [
    dict(step, scale=(608, 608)) if step.type == 'Resize' else step
    for step in _base_.test_pipeline
]
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
