"""What the tests over all methods have to know about this one."""

REPEATS = {
    'centernet_dla34_crop512-140e_coco': [
        'centernet-voc_dla34_crop384-70e_voc0712',
    ],
    'centernet_r18-dcnv2_crop512-140e_coco': [
        'centernet-voc_r101-dcnv2_crop384-70e_voc0712',
    ],
}
