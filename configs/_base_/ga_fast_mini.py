"""Small-scale diff of GA-Fast R-CNN: without proposal files GA-RPN makes them.

The R-CNN stage stays; the detector becomes a Faster R-CNN.
"""

_base_ = './ga_parts.py'
_mini_load = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='Resize', scale=(1333, 800), keep_ratio=True),
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
    nms=dict(type='nms', iou_threshold=0.7),
    min_bbox_size=0,
    **_base_.ga_proposals,
)
mini = dict(
    model=dict(
        type='FasterRCNN',
        rpn_head=dict(_base_.ga_rpn_head, in_channels=64, feat_channels=64),
        train_cfg=dict(
            rpn=dict(
                assigner=dict(
                    type='MaxIoUAssigner',
                    pos_iou_thr=0.7,
                    neg_iou_thr=0.3,
                    min_pos_iou=0.3,
                    ignore_iof_thr=-1,
                ),
                sampler=_base_.ga_rpn_train['ga_sampler'],
                allowed_border=-1,
                pos_weight=-1,
                **_base_.ga_rpn_train,
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
