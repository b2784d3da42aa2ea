"""What the tests over all methods have to know about this one."""

REPEATS = {
    'pyconv_retinanet_r50_fpn_1x_coco': [
        'pyconv_retinanet_r18_fpn_1x_coco',
        'pyconv_retinanet_r34_fpn_1x_coco',
        'pyconv_retinanet_r101_fpn_1x_coco',
    ],
    'pyconv_faster-rcnn_r50_fpn_1x_coco': [
        'pyconv_faster-rcnn_r152_fpn_1x_coco',
    ],
    'pyconv-hg_faster-rcnn_r50_fpn_1x_coco': [
        'pyconv-hg_faster-rcnn_r152_fpn_1x_coco',
    ],
}
