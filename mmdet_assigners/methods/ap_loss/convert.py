"""Official AP-loss checkpoint (cccorn/AP-loss) -> ours.

``mmdet-assigners convert ap_loss official.pth out.pth``

The repository has no checkpoint: this is for your own. Its anchors are ordered
as mmdet's, ratio by ratio. The first convolution of R-50 has a bias there; it
goes into the mean of the batch norm behind it.
"""

from ...conversion.state_dicts import State, rename

LEVELS = ('P3', 'P4', 'P5')
TOWERS = {'classificationModel': 'cls', 'regressionModel': 'reg'}
RULES = (
    (r'((?:conv1|bn1|layer\d)\..+)', r'backbone.\1'),
    *(
        (rf'fpn\.{level}_{j}\.(.+)', rf'neck.{convs}.{i}.conv.\1')
        for i, level in enumerate(LEVELS)
        for j, convs in ((1, 'lateral_convs'), (2, 'fpn_convs'))
    ),
    (r'fpn\.P6\.(.+)', r'neck.fpn_convs.3.conv.\1'),
    (r'fpn\.P7_2\.(.+)', r'neck.fpn_convs.4.conv.\1'),
    *(
        (
            rf'{theirs}\.conv{i + 1}\.(.+)',
            rf'bbox_head.{ours}_convs.{i}.conv.\1',
        )
        for theirs, ours in TOWERS.items()
        for i in range(4)
    ),
    *(
        (rf'{theirs}\.output\.(.+)', rf'bbox_head.retina_{ours}.\1')
        for theirs, ours in TOWERS.items()
    ),
)
# blocks of the third stage of R-101
DEEP = 'backbone.layer3.22.conv1.weight'


def convert(state: State) -> State:
    """Official state dict -> ours."""
    state = rename(state, RULES)
    bias = state.pop('backbone.conv1.bias', None)
    if bias is not None:
        mean = state['backbone.bn1.running_mean']
        state['backbone.bn1.running_mean'] = mean - bias
    return state


def guess_config(state: State) -> str:
    """The official recipe of the checkpoint's depth."""
    depth = 101 if DEEP in state else 50
    return f'ap-loss_retinanet_r{depth}-caffe_fpn_512-100e_coco'
