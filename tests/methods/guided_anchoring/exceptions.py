"""What the tests over all methods have to know about this one."""

REPEATS = {
    'batch-ga-faster-rcnn_r101-caffe_fpn_1x_coco': [
        'batch-ga-faster-rcnn_x101-32x4d_fpn_1x_coco',
        'batch-ga-faster-rcnn_x101-64x4d_fpn_1x_coco',
    ],
    'batch-ga-retinanet_r101-caffe_fpn_1x_coco': [
        'batch-ga-retinanet_x101-32x4d_fpn_1x_coco',
        'batch-ga-retinanet_x101-64x4d_fpn_1x_coco',
    ],
    'batch-ga-rpn_r101-caffe_fpn_1x_coco': [
        'batch-ga-rpn_x101-32x4d_fpn_1x_coco',
        'batch-ga-rpn_x101-64x4d_fpn_1x_coco',
    ],
}
