"""What the tests over all methods have to know about this one."""

REPEATS = {
    'spinenet_retinanet_49_640-350e_coco': [
        'spinenet_retinanet_143_1280-350e_coco',
        'spinenet_retinanet_49_896-350e_coco',
        'spinenet_retinanet_96_1024-350e_coco',
    ],
    'spinenet_mask-rcnn_49_640-350e_coco': [
        'spinenet_mask-rcnn_143_1280-350e_coco',
        'spinenet_mask-rcnn_96_1024-350e_coco',
    ],
}
