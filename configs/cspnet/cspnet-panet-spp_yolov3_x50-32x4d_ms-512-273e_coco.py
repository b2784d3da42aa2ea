# CSPResNeXt50-PANet-SPP at 512; officially 38.0 on test-dev, and 40.3 with
# other training. 8 GPUs x 8 images, lr 0.001.
_base_ = './cspnet-panet-spp_yolov3_x50-32x4d_ms-608-273e_coco.py'
test_pipeline = [
    dict(step, scale=(512, 512)) if step.type == 'Resize' else step
    for step in _base_.test_pipeline
]
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
