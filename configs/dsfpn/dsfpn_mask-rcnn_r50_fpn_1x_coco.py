# DSFPN, Mask R-CNN: bottom-up supervision and decoupled box heads. mmdet's
# baseline: 38.2, masks 34.7.
# 8 GPUs x 2 images, lr 0.02.
_base_ = './dsfpn-supervised_mask-rcnn_r50_fpn_1x_coco.py'
model = dict(
    roi_head=dict(
        bbox_head=dict(type='ConvFCBBoxHead', num_cls_fcs=2, num_reg_fcs=2)
    )
)
