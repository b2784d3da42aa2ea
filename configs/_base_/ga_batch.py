"""What the batched configs change in mmdet's Guided Anchoring models."""

_assigners = dict(
    assigner=dict(type='BoundedMaxIoUAssigner'),
    ga_assigner=dict(type='BoundedApproxMaxIoUAssigner'),
)
batch_ga_rpn = dict(
    rpn_head=dict(type='BatchGARPNHead'), train_cfg=dict(rpn=_assigners)
)
batch_ga_retina = dict(
    bbox_head=dict(type='BatchGARetinaHead'), train_cfg=_assigners
)
