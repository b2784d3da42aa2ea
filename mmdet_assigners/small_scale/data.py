"""Files and classes of a config from a dataset."""

from mmengine.config import Config, ConfigDict

from ..datasets.annotations import reads_coco
from ..datasets.roots import DataFiles, Split, resolve_data
from ..utils import leaf_datasets, type_name, walk_config

# What a dataset of another format keeps when it becomes a CocoDataset.
_COMMON = ('pipeline', 'filter_cfg', 'test_mode', 'indices', 'max_refetch')


def set_num_classes(model: ConfigDict, num_classes: int) -> None:
    """Set ``num_classes`` in every part of a model, in place."""
    for _, node in walk_config(model):
        if 'num_classes' in node:
            node['num_classes'] = num_classes


def use_data(cfg: Config, data: str | DataFiles, eval_on: str = 'val') -> None:
    """Point a config at a dataset: files and classes.

    A dataset of another format (Pascal VOC, WIDER FACE) becomes a
    ``CocoDataset``, and its metric a ``CocoMetric``.

    Args:
        cfg: Changed in place.
        data: The dataset (see `resolve_data`).
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
    _set_files(cfg.get('train_dataloader'), root.train)
    for part in ('val', 'test'):
        other_format = _set_files(cfg.get(f'{part}_dataloader'), evaluated)
        key = f'{part}_evaluator'
        if other_format and cfg.get(key):
            cfg[key] = ConfigDict(
                type='CocoMetric',
                metric='bbox',
                ann_file=str(evaluated.ann_file),
            )
        for _, metric in walk_config(cfg.get(key)):
            if 'ann_file' in metric:
                metric['ann_file'] = str(evaluated.ann_file)
    set_num_classes(cfg.model, len(root.train.classes))


def _set_files(loader: ConfigDict | None, split: Split) -> bool:
    """Set the files of every dataset of a loader.

    Returns:
        bool: Whether one of them was of another format.
    """
    other_format = False
    for _, node in leaf_datasets(loader):
        if not reads_coco(node):
            other_format = True
            kept = {key: node[key] for key in _COMMON if key in node}
            node.clear()
            node.update(type='CocoDataset', **kept)
        node['data_root'] = ''
        node['ann_file'] = str(split.ann_file)
        node['data_prefix'] = dict(img=str(split.img_dir) + '/')
        node['metainfo'] = dict(classes=split.classes)
    for _, node in walk_config(loader):
        if type_name(node) == 'ConcatDataset':
            # several sets that are now the same one
            first, *others = node['datasets']
            node['datasets'] = [
                first,
                *(other for other in others if other != first),
            ]
    return other_format
