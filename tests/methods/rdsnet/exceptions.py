"""What the tests over all methods have to know about this one."""

# a mean over the masks of a process plus one, of random anchors if too many
BY_IMAGE = [
    ('mask_head', 'extra_count', 0),
    ('mask_head', 'max_masks_to_train', 10**6),
]
REPEATS = {
    'rdsnet_mbrm_r50_fpn_1x_coco': [
        'rdsnet_r50_fpn_1x_coco',
        'rdsnet_mbrm_r101_fpn_1x_coco',
        'rdsnet_mbrm_r101_fpn_ms-2x_coco',
    ],
}
