"""What the tests over all methods have to know about this one."""

REPEATS = {
    'hit-detector-search_faster-rcnn_12e_coco': [
        'hit-detector-screening_faster-rcnn_12e_coco',
    ],
}
