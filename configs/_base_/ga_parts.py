"""GA-RPN for detectors that mmdet has no guided-anchoring config of."""

ga_rpn_head = dict(  # the rest are the defaults of the head
    type='BatchGARPNHead',
    in_channels=256,
    feat_channels=256,
    anchor_coder=dict(
        type='DeltaXYWHBBoxCoder',
        target_means=[0.0, 0.0, 0.0, 0.0],
        target_stds=[0.07, 0.07, 0.14, 0.14],
    ),
    bbox_coder=dict(
        type='DeltaXYWHBBoxCoder',
        target_means=[0.0, 0.0, 0.0, 0.0],
        target_stds=[0.07, 0.07, 0.11, 0.11],
    ),
)
ga_rpn_train = dict(
    assigner=dict(type='BoundedMaxIoUAssigner'),
    ga_assigner=dict(
        type='BoundedApproxMaxIoUAssigner',
        pos_iou_thr=0.7,
        neg_iou_thr=0.3,
        min_pos_iou=0.3,
        ignore_iof_thr=-1,
    ),
    ga_sampler=dict(
        type='RandomSampler',
        num=256,
        pos_fraction=0.5,
        neg_pos_ub=-1,
        add_gt_as_proposals=False,
    ),
    center_ratio=0.2,
    ignore_ratio=0.5,
)
ga_proposals = dict(nms_post=1000, max_per_img=300)
ga_stds = dict(bbox_coder=dict(target_stds=[0.05, 0.05, 0.1, 0.1]))
ga_rcnn_train = dict(
    assigner=dict(pos_iou_thr=0.6, neg_iou_thr=0.6, min_pos_iou=0.6),
    sampler=dict(num=256),
)
