"""Checks that turn a wrong checkpoint into a clear message."""

from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.model import is_model_wrapper
from mmengine.runner import find_latest_checkpoint
from torch import nn

from ..compat import allow_checkpoint_globals
from ..config_diff import diff_dicts, flatten
from .problem import Problem


class CheckpointError(ValueError):
    """A checkpoint is missing, damaged or of another model.

    Args:
        what: What is wrong, one line that names the file.
        fix: What to do about it.
    """

    def __init__(self, what: str, fix: str) -> None:
        self.problem = Problem(what, fix)
        super().__init__(str(self.problem))


def load(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint file to the CPU.

    Raises:
        CheckpointError: There is no such file, or it is not a checkpoint.
    """
    if not Path(path).is_file():
        raise CheckpointError(
            f'there is no checkpoint {path}', 'name another file'
        )
    # again: after each load of its own, onedl-mmengine revokes its types
    allow_checkpoint_globals()
    try:
        content = torch.load(path, map_location='cpu')
    except Exception as error:  # torch raises many types on a broken file
        # its text is left out: it recommends unsafe loading
        raise CheckpointError(
            f'{path} cannot be read as a checkpoint ({type(error).__name__})',
            'it is damaged or something else: take another epoch of the same '
            'folder',
        ) from error
    if not isinstance(content, dict):
        raise CheckpointError(
            f'{path} is a {type(content).__name__}, expected a dict',
            'name another file',
        )
    return content


def check_resume(cfg: Config) -> None:
    """Check that the last checkpoint of the work folder is of this model.

    Without any checkpoint there is nothing to check.

    Raises:
        CheckpointError: It is damaged, or of another model.
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
        raise CheckpointError(
            f'{last} is of another model (it differs in {keys})',
            'choose another --work-dir, or leave out --resume',
        )


def check_weights(model: nn.Module, path: str | Path) -> dict[str, Any]:
    """Check that a checkpoint has every parameter and buffer of a model.

    mmengine only logs what is missing, and evaluates random weights.

    Returns:
        dict: The state dict of the checkpoint, tensors (...) by name.

    Raises:
        CheckpointError: The file can't be read or doesn't fit; the message
            names the first tensors that are missing or of another shape.
    """
    content = load(path)
    found = content.get('state_dict', content)
    if is_model_wrapper(model):
        model = model.module
    wrong = []
    for name, value in model.state_dict().items():
        if name not in found:
            wrong.append(f'{name} is missing')
        elif found[name].shape != value.shape:
            shapes = f'{tuple(found[name].shape)}, not {tuple(value.shape)}'
            wrong.append(f'{name} is {shapes}')
    if wrong:
        more = f' and {len(wrong) - 3} more' if len(wrong) > 3 else ''
        raise CheckpointError(
            f'{path} does not fit the config: {"; ".join(wrong[:3])}{more}',
            'use the config and the --mini/--data options of its training',
        )
    return found
