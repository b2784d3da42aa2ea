"""Key names of the codebases that official repositories are forks of.

Backbone (ResNet, ResNeXt), FPN with P6 and P7, and the towers of one-stage
heads; what a method adds to them is in its own converter.
"""

from common import Rules, State

LEVELS = range(3)  # C3, C4, C5


def _fpn(inner: str, outer: str, first: int, top: str) -> Rules:
    """Rules of the pyramid; ``first`` is the number of C3 in its names."""
    rules = [
        (rf'{theirs}{first + i}\.(.+)', rf'neck.{ours}.{i}.conv.\1')
        for theirs, ours in (
            (inner, 'lateral_convs'),
            (outer, 'fpn_convs'),
        )
        for i in LEVELS
    ]
    return [
        *rules,
        (rf'{top}\.p6\.(.+)', r'neck.fpn_convs.3.conv.\1'),
        (rf'{top}\.p7\.(.+)', r'neck.fpn_convs.4.conv.\1'),
    ]


MASKRCNN_BENCHMARK: Rules = (
    (r'backbone\.body\.stem\.(.+)', r'backbone.\1'),
    (r'backbone\.body\.(layer\d\..+)', r'backbone.\1'),
    *_fpn(
        r'backbone\.fpn\.fpn_inner',
        r'backbone\.fpn\.fpn_layer',
        2,
        r'backbone\.fpn\.top_blocks',
    ),
    (r'rpn\.anchor_generator\.cell_anchors\.\d', None),
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
    *_fpn(
        r'backbone\.fpn_lateral',
        r'backbone\.fpn_output',
        3,
        r'backbone\.top_block',
    ),
    (r'pixel_(?:mean|std)|anchor_generator\..+', None),
)


def tower(theirs: str, ours: str, norm: bool, convs: int = 4) -> Rules:
    """Rules of a tower that is an ``nn.Sequential`` in the official code.

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
            rf'{theirs}\.{step * i + offset}\.(.+)',
            rf'bbox_head.{ours}.{i}.{part}.\1',
        )
        for i in range(convs)
        for offset, part in enumerate(parts)
    ]


def scalar_scales(state: State) -> State:
    """The learnt scales of the levels: theirs have one dimension, ours 0."""
    return {
        name: value.reshape(()) if name.endswith('.scale') else value
        for name, value in state.items()
    }
