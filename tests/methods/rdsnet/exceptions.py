"""What the tests over all methods have to know about this one."""

REPEATS = {
    'rdsnet_mbrm_r50_fpn_1x_coco': [
        'rdsnet_r50_fpn_1x_coco',
        'rdsnet_mbrm_r101_fpn_1x_coco',
        'rdsnet_mbrm_r101_fpn_ms-2x_coco',
    ],
}
