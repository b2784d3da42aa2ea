"""Files and classes of a config from a dataset."""

from mmengine.config import Config, ConfigDict

from ..datasets.roots import Split, resolve_data
from ..utils import walk_config


def set_num_classes(model: ConfigDict, num_classes: int) -> None:
    """Set ``num_classes`` in every part of a model, in place."""
    for _, node in walk_config(model):
        if 'num_classes' in node:
            node['num_classes'] = num_classes


def use_data(cfg: Config, data: str, eval_on: str = 'val') -> None:
    """Point a config at a dataset: files and classes.

    Args:
        cfg: Changed in place.
        data: Name or root of the dataset (see `resolve_data`).
        eval_on: Split that is evaluated, ``val`` or ``train``.

    Raises:
        FileNotFoundError: There is no such dataset.
        ValueError: The two splits have different classes, or the config
            trains masks and the dataset has none.
    """
    nodes = walk_config(cfg._cfg_dict)
    masks = any(node.get('with_mask') for _, node in nodes)
    root = resolve_data(data, masks)
    evaluated = root.train if eval_on == 'train' else root.val
    if evaluated.classes != root.train.classes:
        raise ValueError(
            f'{evaluated.ann_file} has the classes {evaluated.classes}, but '
            f'{root.train.ann_file} has {root.train.classes}'
        )
    _set_files(cfg.train_dataloader, root.train)
    for part in ('val', 'test'):
        _set_files(cfg[f'{part}_dataloader'], evaluated)
        evaluators = cfg[f'{part}_evaluator']
        if isinstance(evaluators, dict):
            evaluators = [evaluators]
        for evaluator in evaluators:
            if 'ann_file' in evaluator:  # VOCMetric has none
                evaluator['ann_file'] = str(evaluated.ann_file)
    set_num_classes(cfg.model, len(root.train.classes))


def _set_files(loader: ConfigDict, split: Split) -> None:
    for _, node in walk_config(loader):
        if 'ann_file' in node:
            node['data_root'] = ''
            node['ann_file'] = str(split.ann_file)
            node['data_prefix'] = dict(img=str(split.img_dir) + '/')
            node['metainfo'] = dict(classes=split.classes)
