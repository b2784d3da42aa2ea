# DSFPN, Faster R-CNN, with the loss and the RoIAlign of the official code.
# 8 GPUs x 2 images, lr 0.02.
_base_ = './dsfpn_smooth-l1_faster-rcnn_r50_fpn_1x_coco.py'
model = dict(
    roi_head=dict(
        bbox_roi_extractor=dict(
            roi_layer=dict(sampling_ratio=2, aligned=False)
        )
    )
)
