"""What models trained with Detectron or maskrcnn-benchmark share."""

detectron_input = dict(
    mean=[102.9801, 115.9465, 122.7717], std=[1.0, 1.0, 1.0], bgr_to_rgb=False
)
detectron_backbone = dict(norm_cfg=dict(requires_grad=False), style='caffe')
# boxes with inclusive corners
detectron_coder = dict(bbox_coder=dict(type='LegacyDeltaXYWHBBoxCoder'))
detectron_anchors = dict(
    anchor_generator=dict(type='DetectronAnchorGenerator'), **detectron_coder
)
detectron_roi_align = dict(roi_layer=dict(sampling_ratio=2, aligned=False))
