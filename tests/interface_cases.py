"""One small model for each dense head that the package registers."""

import copy
import functools
from dataclasses import dataclass
from pathlib import Path

import torch
from helpers import BOXES, demo_batch, leaf_configs, main_configs, mini_config
from mmdet.models.dense_heads.base_dense_head import BaseDenseHead
from mmdet.models.utils import unpack_gt_instances
from mmdet.registry import MODELS
from mmengine.config import Config, ConfigDict
from torch import nn

from mmdet_assigners.utils import registered_names

# base classes that no config has
BASES = ('BatchGuidedAnchorHead',)
DENSE_HEADS = sorted(
    name
    for name, cls in registered_names().items()
    if issubclass(cls, BaseDenseHead) and name not in BASES
)


@functools.cache
def _texts() -> dict[Path, str]:
    return {path: path.read_text() for path in leaf_configs()}


def _has(path: Path, name: str) -> bool:
    return f"'{name}'" in str(Config.fromfile(path).model)


def config_of(name: str) -> Path:
    """A config whose model has a class.

    By its text, or one that takes a shared part, or that of its method.
    """
    for path, text in _texts().items():
        if f"type='{name}'" in text:
            return path
    _, package, slug, *_ = registered_names()[name].__module__.split('.')
    paths = [path for path, text in _texts().items() if '_base_/' in text]
    if package == 'methods':
        main = next(p for p in main_configs() if p.parent.name == slug)
        paths = [main, *(p for p in paths if p.parent.name == slug)]
    for path in paths:
        if _has(path, name):
            return path
    if package == 'methods':  # built in Python
        return main
    raise LookupError(f'no config has {name}')


@dataclass
class Case:
    """A dense head in its detector, with one batch.

    Attributes:
        cfg: Of the model.
        model: The detector.
        head: The dense head of it.
        feats: What the head gets, without gradient.
        samples: Of the batch of two images.
    """

    cfg: ConfigDict
    model: nn.Module
    head: nn.Module
    feats: list
    samples: list

    @property
    def targets(self):
        """Ground truths, ignored regions and meta information."""
        return unpack_gt_instances(self.samples)

    def build(self, change=None, load=True):
        """The head from a changed config, with the same weights."""
        node = copy.deepcopy(self.cfg[self.slot])
        stage = self.cfg.get('train_cfg') or ConfigDict()
        if self.slot == 'rpn_head':
            stage = stage.get('rpn')
            node.num_classes = 1
        node.train_cfg = copy.deepcopy(stage) or ConfigDict()
        test_cfg = self.cfg.test_cfg
        node.test_cfg = test_cfg.get('rpn', test_cfg)
        if change is not None:
            change(node)
        head = MODELS.build(node)
        if load:
            head.load_state_dict(self.head.state_dict())
        return head.train()

    @property
    def slot(self):
        return 'rpn_head' if hasattr(self.model, 'rpn_head') else 'bbox_head'


def detach(feats):
    """Levels, or pairs of levels, without gradient."""
    return [
        tuple(map(torch.Tensor.detach, x))
        if isinstance(x, tuple)
        else x.detach()
        for x in feats
    ]


@functools.cache
def case(name: str) -> Case:
    """The head of this name; nobody changes it."""
    torch.manual_seed(0)
    cfg = mini_config(config_of(name)).model
    model = MODELS.build(copy.deepcopy(cfg))
    model.init_weights()
    model.train()
    cls = registered_names()[name]
    head = next(m for m in model.modules() if type(m) is cls)
    data = model.data_preprocessor(demo_batch([BOXES, BOXES[:2]]), True)
    feats = detach(model.extract_feat(data['inputs']))
    samples = data['data_samples']
    if getattr(head, 'num_classes', 2) == 1:
        for sample in samples:
            sample.gt_instances.labels.zero_()
    return Case(cfg, model, head, feats, samples)
