"""What the tests over all methods have to know about this one."""

# untrained boxes reach no threshold, and a mean of 0 positives counts 1
BY_IMAGE = ('bbox_head', 'border_iou_thr', 1e-3)

REPEATS = {
    f'borderdet_x101-{net}_fpn_ms-2x_coco': [
        f'borderdet-released_x101-{net}_fpn_ms-2x_coco'
    ]
    for net in ('32x8d', '64x4d', '32x8d-dcnv2', '64x4d-dcnv2')
}
