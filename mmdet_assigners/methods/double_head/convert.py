"""Official Double-Head-Ext checkpoint (wuyuebupt/doubleheadsrcnn) -> ours.

``mmdet-assigners convert double_head official.pth out.pth``

The official model is a Faster R-CNN of maskrcnn-benchmark. For another number
of classes name by ``--config`` a config that changes ``num_classes`` of a
``released`` one.
"""

from ...conversion.state_dicts import Rules, State, rename
from ...conversion.trunks import (
    BOX_HEAD,
    MASKRCNN_BENCHMARK_RCNN,
    background_last,
)

# blocks of the third stage of R-101
DEEP = 'backbone.layer3.22.conv1.weight'
FEATURES = r'roi_heads\.box\.feature_extractor\.'
PREDICTOR = r'roi_heads\.box\.predictor\.'
BLOCK = FEATURES + r'shared_nonlocal\.(\d+)\.'
PARTS = (
    (r'top\.0', 'conv_identity.conv'),
    (r'top\.1', 'conv_identity.bn'),
    (r'bottom\.0', 'conv1.conv'),
    (r'bottom\.1', 'conv1.bn'),
    (r'bottom\.3', 'conv2.conv'),
    (r'bottom\.4', 'conv2.bn'),
)
RULES: Rules = (
    *(
        (rf'{theirs}\.(.+)', rf'{BOX_HEAD}{ours}.\1')
        for theirs, ours in (
            *(
                (rf'{FEATURES}nonlocal_conv\.{theirs}', f'res_block.{ours}')
                for theirs, ours in PARTS
            ),
            (FEATURES + 'fc6', 'fc_branch.0'),
            (FEATURES + 'fc7', 'fc_branch.1'),
            (PREDICTOR + 'cls_score', 'fc_cls_conv'),
            (PREDICTOR + 'bbox_pred', 'fc_reg'),
            (PREDICTOR + 'cls_score_fc', 'fc_cls'),
            (PREDICTOR + 'bbox_pred_fc', 'fc_reg_fc'),
        )
    ),
    (BLOCK + r'(g|theta|phi)\.(.+)', rf'{BOX_HEAD}nonlocal_branch.\1.\2.\3'),
    (BLOCK + r'W\.0\.(.+)', rf'{BOX_HEAD}nonlocal_branch.\1.out.\2'),
    (BLOCK + r'W\.bn\.(.+)', rf'{BOX_HEAD}nonlocal_branch.\1.bn.\2'),
    *(
        (
            rf'{BLOCK}ffconv\.bottleneck\.{3 * i + offset}\.(.+)',
            rf'{BOX_HEAD}conv_branch.\1.{part}{i + 1}.\2',
        )
        for i in range(3)
        for offset, part in enumerate(('conv', 'bn'))
    ),
    *MASKRCNN_BENCHMARK_RCNN,
)


def convert(state: State) -> State:
    """Official state dict -> ours; the order of the anchors is the same."""
    return background_last(rename(state, RULES))


def guess_config(state: State) -> str:
    """The row of the table that a (converted) file belongs to."""
    depth = 101 if DEEP in state else 50
    return f'double-head-ext-released_faster-rcnn_r{depth}-caffe_fpn_1x_coco'
