"""What the tests over all methods have to know about this one."""

# untrained boxes reach no threshold, and a mean of 0 positives counts 1
BY_IMAGE = ('bbox_head', 'border_iou_thr', 1e-3)
