"""What models trained with Detectron or maskrcnn-benchmark share."""

detectron_input = dict(
    mean=[102.9801, 115.9465, 122.7717], std=[1.0, 1.0, 1.0], bgr_to_rgb=False
)
detectron_backbone = dict(norm_cfg=dict(requires_grad=False), style='caffe')
# In that code corners are inclusive, [x1, x2] with sides x2 - x1 + 1 and
# centers (x1 + x2) / 2. Here they are exclusive, [x1, x2 + 1]: the same sides,
# centers half a pixel further, so its deltas are those of mmdet's coder. It
# bounds sides above only.
detectron_coder = dict(bbox_coder=dict(add_ctr_clamp=True, ctr_clamp=1e8))
detectron_anchors = dict(
    anchor_generator=dict(type='DetectronAnchorGenerator', center_offset=0.5),
    **detectron_coder,
)
detectron_roi_align = dict(
    type='InclusiveRoIExtractor',
    roi_layer=dict(sampling_ratio=2, aligned=False),
)
