"""Small-scale diff of GA-Fast R-CNN: GA-RPN makes the proposals."""

_base_ = ['./fast_rcnn_mini.py', './ga_parts.py']
_mini_nms = dict(nms_pre=1000, **_base_.ga_proposals)
mini = dict(
    model=dict(
        rpn_head=dict(
            _delete_=True,
            **(_base_.ga_rpn_head | dict(in_channels=64, feat_channels=64)),
        ),
        train_cfg=dict(
            rpn=dict(
                sampler=_base_.ga_rpn_train['ga_sampler'],
                **_base_.ga_rpn_train,
            ),
            rpn_proposal=_mini_nms,
        ),
        test_cfg=dict(rpn=_mini_nms),
    )
)
