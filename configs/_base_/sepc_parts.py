"""What weights of the official SEPC (mmdet 1.1) need of a head."""

# Inclusive corners, [x1, x2] with sides x2 - x1 + 1, are [x1, x2 + 1] here:
# the same sides, so deltas and distances are those of mmdet's coders.
sepc_anchors = dict(
    anchor_generator=dict(type='MMDetV1AnchorGenerator', center_offset=0.5)
)
# officially in strides, from (s - 1) / 2 + 0.5 for stride s
sepc_points = dict(
    anchor_generator=dict(center_offset=0.5), bbox_coder=dict(normalizer=1.0)
)
