"""What trainings differ in: their configs, and what their models detect."""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..config_diff import flatten, keys_that_are_read
from ..diagnostics.checkpoints import find_last
from .logs import read_config

if TYPE_CHECKING:
    from mmengine.config import Config

    from ..datasets.roots import Split

# of a run, not of what it trains
_OF_THE_RUN = {'work_dir', 'load_from', 'resume', 'launcher', 'custom_imports'}
_MISSING = '-'


def config_differences(
    configs: Mapping[str, dict[str, Any]],
) -> dict[str, dict[str, str]]:
    """Keys in which configs differ.

    Args:
        configs: Name of a training -> its config, see `read_config`.

    Returns:
        dict: Dotted key -> name of a training -> value, '-' where it has
        none.
    """
    read = keys_that_are_read() - _OF_THE_RUN
    flat = {
        name: flatten({k: v for k, v in config.items() if k in read})
        for name, config in configs.items()
    }
    keys = dict.fromkeys(key for one in flat.values() for key in one)
    found = {}
    for key in keys:
        values = {
            name: repr(one[key]) if key in one else _MISSING
            for name, one in flat.items()
        }
        if len(set(values.values())) > 1:
            found[key] = values
    return found


def draw_detections(
    folders: Mapping[str, str | Path],
    count: int,
    path: Path,
    device: str = 'cpu',
) -> None:
    """Draw what the last checkpoints detect, a column for each.

    As many detections of an image as it has objects: the scores of two losses
    don't compare.

    Args:
        folders: Name of a training -> its work folder.
        count: Number of images, the first ones with objects that the first
            training is evaluated on.
        path: PNG to write.
        device: Where the models run.

    Raises:
        FileNotFoundError: A folder has no config or no checkpoint.
        ValueError: The data is not there, or has other classes than a model.
    """
    import mmcv
    import torch
    from mmdet.apis import inference_detector, init_detector
    from mmengine.structures import InstanceData

    from ..analysis.images import ground_truths, read_images
    from ..utils import register_all_modules
    from ..visualization.runs import plot_detections

    register_all_modules()
    configs = {name: _load(folder) for name, folder in folders.items()}
    split = _common_split(configs)
    with_objects = (i for i in read_images(split) if i['instances'])
    infos = list(itertools.islice(with_objects, count))
    truths = [
        InstanceData(bboxes=boxes, labels=labels)
        for boxes, labels in map(ground_truths, infos)
    ]
    columns: dict[str, Sequence[Any]] = {'ground truth': truths}
    for name, cfg in configs.items():
        checkpoint = find_last(folders[name])
        if checkpoint is None:
            raise FileNotFoundError(
                f'{folders[name]} has no checkpoint: leave out --images'
            )
        model = init_detector(cfg, str(checkpoint), device=device)
        with torch.no_grad():
            found = [
                inference_detector(
                    model, info['img_path']
                ).pred_instances.cpu()
                for info in infos
            ]
        columns[name] = [
            one[one.scores.argsort(descending=True)[: len(truth)]]
            for one, truth in zip(found, truths, strict=True)
        ]
    images = [mmcv.imread(i['img_path'], channel_order='rgb') for i in infos]
    plot_detections(images, columns, split.classes, path)


def _load(folder: str | Path) -> 'Config':
    """The config of a work folder; only modules that it names are run."""
    from mmengine.config import Config
    from mmengine.utils import import_modules_from_strings

    literals = read_config(Path(folder))
    if 'model' not in literals:
        raise FileNotFoundError(
            f'{folder} has no config with a model: expected '
            '*/vis_data/config.py; leave out --images'
        )
    imports = literals.get('custom_imports')
    if imports:
        import_modules_from_strings(**imports)
    return Config(literals)


def _common_split(configs: 'Mapping[str, Config]') -> 'Split':
    """The split of the first training, whose classes all have.

    Raises:
        ValueError: One has other classes.
    """
    from ..diagnostics.data_check import config_split

    splits = {name: config_split(cfg, 'val') for name, cfg in configs.items()}
    first, *_ = splits.values()
    for name, split in splits.items():
        if split.classes != first.classes:
            raise ValueError(
                f'--images: {name} has the classes {split.classes}, not '
                f'{first.classes}'
            )
    return first
