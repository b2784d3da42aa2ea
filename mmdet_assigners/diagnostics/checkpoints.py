"""Checks that turn a wrong checkpoint into a clear message."""

from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.model import is_model_wrapper
from mmengine.runner import find_latest_checkpoint
from torch import nn

from ..config_diff import diff_dicts, flatten


def load(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint file to the CPU.

    Raises:
        ValueError: There is no such file, or it is not a checkpoint.
    """
    if not Path(path).is_file():
        raise ValueError(f'there is no checkpoint {path}')
    try:
        content = torch.load(path, map_location='cpu')
    except Exception as error:  # torch raises many types on a broken file
        # its text is left out: it advises to load unsafely
        raise ValueError(
            f'{path} cannot be read as a checkpoint '
            f'({type(error).__name__}); it is damaged or not one: take '
            'another epoch of the same folder'
        ) from error
    if not isinstance(content, dict):
        raise ValueError(f'{path} holds a {type(content).__name__}, no dict')
    return content


def check_resume(cfg: Config) -> None:
    """Check that the work folder's last run was of the same model.

    Raises:
        ValueError: Nothing to resume is fine; a damaged checkpoint or one
            of another model is not.
    """
    last = find_latest_checkpoint(cfg.work_dir)
    if last is None:
        return
    text = load(last).get('meta', {}).get('cfg')
    if text is None:
        return  # not written by mmengine's Runner
    before = Config.fromstring(text, '.py').model
    diff = diff_dicts(flatten(before), flatten(cfg.model))
    if diff:
        keys = ', '.join(f'model.{key}' for key in list(diff)[:3])
        raise ValueError(
            f'{last} is of another model (it differs in {keys}); choose '
            'another --work-dir, or leave out --resume'
        )


def check_weights(model: nn.Module, path: str | Path) -> None:
    """Check that a checkpoint has every parameter of a model.

    Raises:
        ValueError: Names the first missing or differently shaped ones;
            mmengine would only log them and evaluate random weights.
    """
    content = load(path)
    found = content.get('state_dict', content)
    if is_model_wrapper(model):
        model = model.module
    problems = []
    for name, value in model.state_dict().items():
        if name not in found:
            problems.append(f'{name} is missing')
        elif found[name].shape != value.shape:
            shapes = f'{tuple(found[name].shape)}, not {tuple(value.shape)}'
            problems.append(f'{name} is {shapes}')
    if problems:
        raise ValueError(
            f'{path} does not fit the config: {"; ".join(problems[:3])}'
            + (f' and {len(problems) - 3} more' if len(problems) > 3 else '')
            + '; use the config and the --mini/--data options of its training'
        )
