"""What the sweeps do differently for shape-aware features."""

REPEATS = {
    'dsc-without-semantic_r50_fpn_1x_coco': [
        'dsc_r50_fpn_1x_coco',
        'dsc_r101_fpn_20e_coco',
        'dsc_r50_fpn_20e_coco',
        'dsc_x101-32x4d_fpn_16xb1-20e_coco',
        'dsc_x101-64x4d-dconv-c3-c5_fpn_ms-400-1400-16xb1-20e_coco',
        'f-dsc_r50_fpn_1x_coco',
    ],
    'mask-refining-rcnn_r50_fpn_1x_coco': [
        'mask-refining-rcnn_no-shape_r50_fpn_1x_coco',
    ],
}
# the mask losses are means over the positives of a process, whose number
# follows predictions, as in mmdet's Mask R-CNN
BY_IMAGE = [
    (f'roi_head.mask_head.{stage}.loss_mask', 'loss_weight', 0.0)
    for stage in range(2)
]
