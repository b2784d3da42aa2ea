# The second stage of Mask Refining R-CNN without shapes: no published number.
# 8 GPUs x 2 images, lr 0.02.
_base_ = './mask-refining-rcnn_r50_fpn_1x_coco.py'
model = dict(
    roi_head=dict(
        refine_bbox_roi_extractor=dict(type='SingleRoIExtractor'),
        refine_mask_roi_extractor=dict(type='SingleRoIExtractor'),
    )
)
