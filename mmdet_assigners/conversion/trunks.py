"""Key names of the codebases that official repositories are forks of.

Backbone (ResNet, ResNeXt), FPN with or without P6 and P7, the towers of
one-stage heads and the heads of R-CNNs; what a method adds to them is in its
own converter.
"""

import re
from collections.abc import Iterable

from .state_dicts import Rules, State

BOX_HEAD = r'roi_head.bbox_head.'


def fpn(inner: str, outer: str, levels: Iterable[int]) -> Rules:
    """Rules of the pyramid.

    Args:
        inner: Name of a lateral convolution, a regular expression with ``{}``
            for the number of the level.
        outer: The same of an output convolution.
        levels: The numbers, the finest first.
    """
    return [
        (
            rf'{theirs.replace("{}", str(level))}\.(.+)',
            rf'neck.{ours}.{i}.conv.\1',
        )
        for theirs, ours in ((inner, 'lateral_convs'), (outer, 'fpn_convs'))
        for i, level in enumerate(levels)
    ]


def _extra(top: str) -> Rules:
    """Rules of P6 and P7."""
    return [
        (rf'{top}\.p6\.(.+)', r'neck.fpn_convs.3.conv.\1'),
        (rf'{top}\.p7\.(.+)', r'neck.fpn_convs.4.conv.\1'),
    ]


_FPN = (r'backbone\.fpn\.fpn_inner{}', r'backbone\.fpn\.fpn_layer{}')
_DFCONV = r'backbone\.body\.(layer\d\.\d+\.conv2)\.'
_MASKRCNN_BENCHMARK: Rules = (
    (r'backbone\.body\.stem\.(.+)', r'backbone.\1'),
    # deformable, where the convolution and its offsets are two modules
    (_DFCONV + r'conv\.(.+)', r'backbone.\1.\2'),
    (_DFCONV + r'offset\.(.+)', r'backbone.\1.conv_offset.\2'),
    (r'backbone\.body\.(layer\d\..+)', r'backbone.\1'),
    (r'rpn\.anchor_generator\.cell_anchors\.\d', None),
)
MASKRCNN_BENCHMARK: Rules = (
    *_MASKRCNN_BENCHMARK,
    *fpn(*_FPN, range(2, 5)),
    *_extra(r'backbone\.fpn\.top_blocks'),
)
MASKRCNN_BENCHMARK_RCNN: Rules = (
    *_MASKRCNN_BENCHMARK,
    *fpn(*_FPN, range(1, 5)),
    *(
        (rf'rpn\.head\.{theirs}\.(.+)', rf'rpn_head.{ours}.\1')
        for theirs, ours in (
            ('conv', 'rpn_conv'),
            ('cls_logits', 'rpn_cls'),
            ('bbox_pred', 'rpn_reg'),
        )
    ),
    *(
        (rf'roi_heads\.box\.{theirs}\.(.+)', rf'{BOX_HEAD}{ours}.\1')
        for theirs, ours in (
            (r'feature_extractor\.fc6', 'shared_fcs.0'),
            (r'feature_extractor\.fc7', 'shared_fcs.1'),
            (r'predictor\.cls_score', 'fc_cls'),
            (r'predictor\.bbox_pred', 'fc_reg'),
        )
    ),
    *(
        (
            rf'roi_heads\.mask\.{theirs}\.(.+)',
            rf'roi_head.mask_head.{ours}.\1',
        )
        for theirs, ours in (
            *(
                (rf'feature_extractor\.mask_fcn{i + 1}', f'convs.{i}.conv')
                for i in range(4)
            ),
            (r'predictor\.conv5_mask', 'upsample'),
            (r'predictor\.mask_fcn_logits', 'conv_logits'),
        )
    ),
)
_STAGE = r'backbone\.bottom_up\.res{}\.(\d+)\.'
DETECTRON2: Rules = (
    (r'backbone\.bottom_up\.stem\.conv1\.weight', 'backbone.conv1.weight'),
    (r'backbone\.bottom_up\.stem\.conv1\.norm\.(.+)', r'backbone.bn1.\1'),
    *(
        (
            _STAGE.format(i + 1) + theirs,
            rf'backbone.layer{i}.\1.{ours}',
        )
        for i in range(1, 5)
        for theirs, ours in (
            (r'conv(\d)\.weight', r'conv\2.weight'),
            (r'conv(\d)\.norm\.(.+)', r'bn\2.\3'),
            (r'shortcut\.weight', 'downsample.0.weight'),
            (r'shortcut\.norm\.(.+)', r'downsample.1.\2'),
        )
    ),
    *fpn(r'backbone\.fpn_lateral{}', r'backbone\.fpn_output{}', range(3, 6)),
    *_extra(r'backbone\.top_block'),
    (r'pixel_(?:mean|std)|anchor_generator\..+', None),
)


def tower(theirs: str, ours: str, norm: bool, convs: int = 4) -> Rules:
    """Rules of a tower that is an ``nn.Sequential`` in the official code.

    A deformable convolution has two modules there, ``conv`` and ``offset``.

    Args:
        theirs: Its official name, a regular expression.
        ours: Its name in the head, without ``bbox_head.``.
        norm: Convolution, GroupNorm, ReLU instead of convolution, ReLU.
        convs: Number of convolutions.
    """
    step = 3 if norm else 2
    parts = ('conv', 'gn') if norm else ('conv',)
    return [
        (
            rf'{theirs}\.{step * i + offset}\.(?:conv\.)?(\w+)',
            rf'bbox_head.{ours}.{i}.{part}.\1',
        )
        for i in range(convs)
        for offset, part in enumerate(parts)
    ] + [
        (
            rf'{theirs}\.{step * i}\.offset\.(\w+)',
            rf'bbox_head.{ours}.{i}.conv.conv_offset.\1',
        )
        for i in range(convs)
    ]


def scalar_scales(state: State) -> State:
    """The learned scales of the levels: theirs have one dimension, ours 0."""
    return {
        name: value.reshape(()) if name.endswith('.scale') else value
        for name, value in state.items()
    }


def background_last(state: State) -> State:
    """R-CNN heads whose class 0 is the background, in the order of ours.

    Ours comes last, and has neither boxes nor a mask. Stages of a cascade have
    numbers; one box for all classes stays.
    """
    moved = dict(state)
    for name, value in state.items():
        head = re.fullmatch(r'roi_head\.\w+_head\.(?:\d\.)?(\w+)\.\w+', name)
        layer = head[1] if head else ''
        if 'fc_cls' in layer:
            moved[name] = value.roll(-1, 0)
        elif re.search('fc_(?:reg|alpha)', layer) and len(value) > 4:
            moved[name] = value[4:]
        elif layer == 'conv_logits':
            moved[name] = value[1:]
    return moved
