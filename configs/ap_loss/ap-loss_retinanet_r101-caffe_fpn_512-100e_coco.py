# AP-loss R-101, the official recipe: AP 37.4 on test-dev (table 4 of the DR
# Loss paper).
# 2 GPUs x 8 images, lr 0.001.
_base_ = './ap-loss_retinanet_r50-caffe_fpn_512-100e_coco.py'
model = dict(
    backbone=dict(
        depth=101,
        init_cfg=dict(checkpoint='open-mmlab://detectron2/resnet101_caffe'),
    )
)
