"""What the tests over all methods have to know about this one."""

REPEATS = {
    'atss-ladder_x101-32x8d-dcnv2_fpn_ms-2x_coco': [
        'atss-ladder_x101-64x4d-dcnv2_fpn_ms-2x_coco',
    ],
}
