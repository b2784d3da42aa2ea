"""Small-scale diff of Fast R-CNN: without proposal files an RPN makes them.

The R-CNN stage stays; the detector becomes a Faster R-CNN.
"""

_mini_load = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='Resize', scale=(320, 240), keep_ratio=True),
]
_mini_meta = ('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')
_mini_test = dict(
    dataset=dict(
        proposal_file=None,
        pipeline=[
            *_mini_load,
            dict(type='PackDetInputs', meta_keys=_mini_meta),
        ],
    )
)
_mini_nms = dict(
    nms_pre=1000,
    max_per_img=1000,
    nms=dict(type='nms', iou_threshold=0.7),
    min_bbox_size=0,
)
mini = dict(
    model=dict(
        type='FasterRCNN',
        rpn_head=dict(
            type='RPNHead',
            in_channels=64,
            feat_channels=64,
            anchor_generator=dict(
                type='AnchorGenerator',
                scales=[8],
                ratios=[0.5, 1.0, 2.0],
                strides=[4, 8, 16, 32, 64],
            ),
            loss_bbox=dict(type='L1Loss', loss_weight=1.0),
        ),
        train_cfg=dict(
            rpn=dict(
                assigner=dict(
                    type='MaxIoUAssigner',
                    pos_iou_thr=0.7,
                    neg_iou_thr=0.3,
                    min_pos_iou=0.3,
                    ignore_iof_thr=-1,
                ),
                sampler=dict(
                    type='RandomSampler',
                    num=256,
                    pos_fraction=0.5,
                    add_gt_as_proposals=False,
                ),
                allowed_border=-1,
                pos_weight=-1,
            ),
            rpn_proposal=_mini_nms,
        ),
        test_cfg=dict(rpn=_mini_nms),
    ),
    train_dataloader=dict(
        dataset=dict(
            proposal_file=None,
            pipeline=[
                *_mini_load,
                dict(type='RandomFlip', prob=0.5),
                dict(type='PackDetInputs'),
            ],
        )
    ),
    val_dataloader=_mini_test,
    test_dataloader=_mini_test,
)
