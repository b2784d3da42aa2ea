"""Official KL-Loss model (yihui-he/KL-Loss, Caffe2 Detectron) -> ours.

``mmdet-assigners convert kl_loss model_final.pkl out.pth``

Faster R-CNN of a ResNet with FPN. Class 0 of theirs is the background; ours
comes last and has no boxes.
"""

import pickle
import re
from pathlib import Path

import numpy as np
import torch

from ...conversion.state_dicts import Rules, State, rename
from ...conversion.trunks import BOX_HEAD, background_last, fpn

BN_EPS = 1e-5
# all that a pickled array consists of; a pickle may call anything else
ARRAY = {
    (module, name)
    for module in ('numpy.core.multiarray', 'numpy._core.multiarray')
    for name in ('_reconstruct', 'scalar')
} | {('numpy', 'ndarray'), ('numpy', 'dtype'), ('_codecs', 'encode')}
BRANCHES = {
    '1': ('downsample.0', 'downsample.1'),
    '2a': ('conv1', 'bn1'),
    '2b': ('conv2', 'bn2'),
    '2c': ('conv3', 'bn3'),
}
RPN = {
    'conv_rpn': 'rpn_conv',
    'rpn_cls_logits': 'rpn_cls',
    'rpn_bbox_pred': 'rpn_reg',
}
FULLY_CONNECTED = {
    'fc6': 'shared_fcs.0',
    'fc7': 'shared_fcs.1',
    'cls_score': 'fc_cls',
    'bbox_pred': 'fc_reg',
    'bbox_pred_std': 'fc_alpha',
}
RULES: Rules = (
    (r'conv1\.weight', 'backbone.conv1.weight'),
    (r'res_conv1_bn\.(.+)', r'backbone.bn1.\1'),
    *(
        (
            rf'res{i + 1}_(\d+)_branch{branch}{theirs}',
            rf'backbone.layer{i}.\1.{ours}.\2',
        )
        for i in range(1, 5)
        for branch, names in BRANCHES.items()
        for theirs, ours in zip(
            (r'\.(weight)', r'_bn\.(.+)'), names, strict=True
        )
    ),
    *fpn(
        r'fpn_inner_res{}_\d+_sum(?:_lateral)?',
        r'fpn_res{}_\d+_sum',
        range(2, 6),
    ),
    *(
        (rf'{theirs}_fpn2\.(.+)', rf'rpn_head.{ours}.\1')
        for theirs, ours in RPN.items()
    ),
    *(
        (rf'{theirs}\.(.+)', rf'{BOX_HEAD}{ours}.\1')
        for theirs, ours in FULLY_CONNECTED.items()
    ),
    # left over from the classifier that the backbone was: nothing reads them
    (r'(?:conv1|res\d_\d+_branch\d[abc]?)\.bias|fc1000\..+', None),
    (r'.+_momentum', None),
)


class ArrayUnpickler(pickle.Unpickler):
    """Reads arrays, refuses whatever else a pickle could run."""

    def find_class(self, module: str, name: str) -> object:
        """What the pickle wants to call, if an array needs it."""
        if (module, name) not in ARRAY:
            raise pickle.UnpicklingError(f'it holds {module}.{name}')
        return super().find_class(module, name)


def read(path: str) -> dict[str, State]:
    """The arrays of a pickle of Detectron.

    Raises:
        ValueError: There is no such file, or it is none.
    """
    if not Path(path).is_file():
        raise ValueError(f'there is no file {path}')
    try:
        with open(path, 'rb') as file:
            content = ArrayUnpickler(file, encoding='latin1').load()
        blobs = content.get('blobs', content)
        return dict(
            model={
                name: torch.from_numpy(np.asarray(blob))
                for name, blob in blobs.items()
            }
        )
    except (pickle.UnpicklingError, AttributeError, EOFError, TypeError) as e:
        raise ValueError(f'{path} is no model of Detectron: {e}') from e


def dotted(name: str) -> str:
    """Caffe2's suffixes as PyTorch's."""
    name = re.sub('_(?:w|s)$', '.weight', name)
    return re.sub('_b$', '.bias', name)


def statistics(state: State) -> State:
    """Scales and shifts of channels as batch norm that changes nothing."""
    norms = {
        name.rpartition('.')[0]: value
        for name, value in state.items()
        if re.search(r'\.(?:bn\d|downsample\.1)\.weight$', name)
    }
    for name, weight in norms.items():
        state[f'{name}.running_mean'] = torch.zeros_like(weight)
        state[f'{name}.running_var'] = torch.full_like(weight, 1 - BN_EPS)
    return state


def convert(state: State) -> State:
    """Official state dict -> ours."""
    renamed = rename({dotted(name): t for name, t in state.items()}, RULES)
    return statistics(background_last(renamed))


def guess_config(state: State) -> str:
    """The config of the released model."""
    return 'kl-loss-released_faster-rcnn_r50-caffe_fpn_2x_coco'
