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
    from mmengine.structures import InstanceData

    from ..analysis.images import ground_truths, read_images
    from ..visualization.runs import plot_detections

    configs = load_configs(folders)
    split = common_split(configs)
    with_objects = (i for i in read_images(split) if i['instances'])
    infos = list(itertools.islice(with_objects, count))
    truths = [
        InstanceData(bboxes=boxes, labels=labels)
        for boxes, labels in map(ground_truths, infos)
    ]
    columns: dict[str, Sequence[Any]] = {'ground truth': truths}
    for name, cfg in configs.items():
        found = _detect(cfg, folders[name], infos, device)
        columns[name] = [
            one[one.scores.argsort(descending=True)[: len(truth)]]
            for one, truth in zip(found, truths, strict=True)
        ]
    images = [mmcv.imread(i['img_path'], channel_order='rgb') for i in infos]
    plot_detections(images, columns, split.classes, path)


def count_errors(
    folders: Mapping[str, str | Path], device: str = 'cpu'
) -> dict[str, dict[str, float]]:
    """What each type of error costs the last checkpoints, by ``tidecv``.

    TIDE: A General Toolbox for Identifying Object Detection Errors, ECCV 2020,
    arXiv 2008.08115.

    Args:
        folders: Name of a training -> its work folder.
        device: Where the models run.

    Returns:
        dict: Name of a training -> AP50 in percent, and type of an error ->
        points of AP50 that a detector without it would gain.

    Raises:
        ImportError: ``tidecv`` is not installed.
        FileNotFoundError: A folder has no config or no checkpoint.
        ValueError: The data is not there, or has other classes than a model.
    """
    from ..analysis.images import read_images

    _import_tide()
    configs = load_configs(folders)
    infos = list(read_images(common_split(configs)))
    return {
        name: tide_errors(infos, _detect(cfg, folders[name], infos, device))
        for name, cfg in configs.items()
    }


def tide_errors(
    infos: Sequence[dict[str, Any]], detections: Sequence[Any]
) -> dict[str, float]:
    """Errors of detections.

    Args:
        infos: Records of the images, see `read_images`.
        detections: For each image ``bboxes`` (N, 4) as x1, y1, x2, y2,
            ``labels`` (N,) and ``scores`` (N,).

    Returns:
        dict: See :func:`count_errors`.
    """
    tide, data = _import_tide()
    truths, predictions = data('ground truth'), data('predictions')
    for image, (info, found) in enumerate(zip(infos, detections, strict=True)):
        for one in info['instances']:
            add = truths.add_ground_truth
            if one['ignore_flag']:
                add = truths.add_ignore_region
            add(image, one['bbox_label'], _corner_and_size(one['bbox']))
        for box, label, score in zip(
            found.bboxes.tolist(),
            found.labels.tolist(),
            found.scores.tolist(),
            strict=True,
        ):
            predictions.add_detection(
                image, label, score, _corner_and_size(box)
            )
    evaluation = tide()
    run = evaluation.evaluate(truths, predictions, mode=tide.BOX, name='run')
    errors = evaluation.get_main_errors()['run']
    return {'AP50': float(run.ap)} | {
        name: float(value) for name, value in errors.items()
    }


def _import_tide() -> tuple[Any, Any]:
    try:
        from tidecv import TIDE
        from tidecv.data import Data
    except ImportError as error:
        raise ImportError(
            "--errors needs tidecv: pip install 'mmdet_assigners[tide]'"
        ) from error
    return TIDE, Data


def _corner_and_size(box: Sequence[float]) -> list[float]:
    x1, y1, x2, y2 = box
    return [x1, y1, x2 - x1, y2 - y1]


def _detect(
    cfg: 'Config',
    folder: str | Path,
    infos: Sequence[dict[str, Any]],
    device: str,
) -> list[Any]:
    """What the last checkpoint of a folder finds in images.

    Returns:
        list: ``InstanceData`` on the CPU, for each image.
    """
    from mmdet.apis import inference_detector, init_detector

    checkpoint = find_last(folder)
    if checkpoint is None:
        raise FileNotFoundError(
            f'{folder} has no checkpoint, which --images and --errors need'
        )
    model = init_detector(cfg, str(checkpoint), device=device)
    return [
        inference_detector(model, info['img_path']).pred_instances.cpu()
        for info in infos
    ]


def load_configs(folders: Mapping[str, str | Path]) -> 'dict[str, Config]':
    """The configs of work folders."""
    from ..utils import register_all_modules

    register_all_modules()
    return {name: _load(folder) for name, folder in folders.items()}


def _load(folder: str | Path) -> 'Config':
    """The config of a work folder; only modules that it names are run."""
    from mmengine.config import Config
    from mmengine.utils import import_modules_from_strings

    literals = read_config(Path(folder))
    if 'model' not in literals:
        raise FileNotFoundError(
            f'{folder} has no config with a model: expected '
            '*/vis_data/config.py'
        )
    imports = literals.get('custom_imports')
    if imports:
        import_modules_from_strings(**imports)
    return Config(literals)


def common_split(configs: 'Mapping[str, Config]') -> 'Split':
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
                f'{name} has the classes {split.classes}, not {first.classes}'
            )
    return first
