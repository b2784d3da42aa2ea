"""Checks that turn a wrong checkpoint into a clear message."""

import ast
import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.model import BaseTTAModel, is_model_wrapper
from torch import nn

from ..compat import allow_checkpoint_globals
from ..config_diff import diff_dicts, flatten
from ..utils import type_name
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
        # explicit: before torch 2.6 the default runs what is in the file
        content = torch.load(path, map_location='cpu', weights_only=True)
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


def find_last(work_dir: str | Path) -> Path | None:
    """The last checkpoint of a work folder that can be read.

    mmengine asks the file ``last_checkpoint`` alone, and starts anew if it is
    missing, empty, or names a place where the folder was before.

    Args:
        work_dir: The folder.

    Raises:
        CheckpointError: There are checkpoints, but all are damaged.
    """
    folder = Path(work_dir)
    record = folder / 'last_checkpoint'
    named = Path(record.read_text().strip()).name if record.is_file() else ''
    saved = sorted(
        [*folder.glob('epoch_*.pth'), *folder.glob('iter_*.pth')],
        key=lambda path: (path.name == named, path.stat().st_mtime),
        reverse=True,
    )
    error: CheckpointError | None = None
    for path in saved:
        try:
            load(path)
        except CheckpointError as one:
            error = error or one
        else:
            return path
    if error:
        raise error
    return None


def check_resume(cfg: Config, path: Path) -> None:
    """Check that a checkpoint is of the training of a config.

    Nothing of the file is executed.

    Args:
        cfg: The config.
        path: The checkpoint.

    Raises:
        CheckpointError: It is damaged, of another model, or its weights are
            averages and the config doesn't average.
    """
    content = load(path)
    meta = content.get('meta', {})
    broken = [
        name
        for name, value in content.get('state_dict', {}).items()
        if torch.is_tensor(value)
        and value.is_floating_point()
        and not value.isfinite().all()
    ]
    if broken:
        raise CheckpointError(
            f'{path}: {len(broken)} weights are not finite, first {broken[0]}',
            'remove it to resume from an earlier one',
        )
    if 'config' in meta:
        # mmengine would execute the text of this key
        raise CheckpointError(
            f'{path} is of an older mmcv and cannot be resumed',
            'use it as initial weights: --cfg-options load_from=FILE',
        )
    hooks = map(type_name, cfg.get('custom_hooks') or [])
    if 'ema_state_dict' in content and not any('EMA' in one for one in hooks):
        # without the hook mmengine would train the averages
        raise CheckpointError(
            f'{path} holds moving averages of the weights, and the config has '
            'no EMAHook',
            'resume as it was started: train --ema',
        )
    before = read_literal(meta.get('cfg', ''), 'model')
    if before is None:
        return  # not written by mmengine's Runner
    diff = diff_dicts(flatten(before), flatten(cfg.model.to_dict()))
    if diff:
        keys = ', '.join(f'model.{key}' for key in list(diff)[:3])
        raise CheckpointError(
            f'{path} is of another model (it differs in {keys})',
            'choose another --work-dir, or leave out --resume',
        )


class _DictCalls(ast.NodeTransformer):
    """``dict(a=1)`` becomes ``{'a': 1}``, as ``ast.literal_eval`` takes it."""

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        named = isinstance(node.func, ast.Name) and node.func.id == 'dict'
        if not named or node.args:
            return node
        keys: list[ast.expr | None] = [
            ast.Constant(keyword.arg) for keyword in node.keywords
        ]
        return ast.Dict(keys, [keyword.value for keyword in node.keywords])


def read_literal(text: str, name: str) -> Any:
    """The value of a variable in a Python file of literals, not executed.

    Args:
        text: What mmengine dumps of a config.
        name: The variable.

    Returns:
        The value; None if there is none, or if it is not a literal.
    """
    return read_literals(text).get(name)


def read_literals(text: str) -> dict[str, Any]:
    """As :func:`read_literal`, all variables whose values are literals."""
    found = {}
    with contextlib.suppress(ValueError, SyntaxError, RecursionError):
        for statement in ast.parse(text).body:
            if isinstance(statement, ast.Assign) and isinstance(
                target := statement.targets[0], ast.Name
            ):
                with contextlib.suppress(ValueError, RecursionError):
                    value = _DictCalls().visit(statement.value)
                    found[target.id] = ast.literal_eval(value)
    return found


def check_weights(
    model: nn.Module,
    path: str | Path,
    classes: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Check that a checkpoint has every parameter and buffer of a model.

    mmengine only logs what is missing, and evaluates random weights.

    Args:
        model: The model.
        path: The checkpoint.
        classes: Names of the classes of the data, in the order of its labels;
            None: not compared.

    Returns:
        dict: The state dict of the checkpoint, tensors (...) by name.

    Raises:
        CheckpointError: The file can't be read or doesn't fit; the message
            names the numbers of classes if only they differ, else the first
            tensors that are missing or of another shape.
    """
    content = load(path)
    found = content.get('state_dict', content)
    if is_model_wrapper(model) or isinstance(model, BaseTTAModel):
        model = model.module
    wrong, shapes = [], {}
    for name, value in model.state_dict().items():
        if name not in found:
            wrong.append(f'{name} is missing')
        elif found[name].shape != value.shape:
            pair = tuple(found[name].shape), tuple(value.shape)
            shapes[name] = pair
            wrong.append(f'{name} is {pair[0]}, not {pair[1]}')
    if wrong:
        counts, key, number = _class_counts(model, shapes)
        trained = _trained_classes(content)
        if trained:  # else all that the shapes allow
            counts &= {len(trained)}
        if counts and len(wrong) == len(shapes):
            several = ' or '.join(map(str, sorted(counts)))
            raise CheckpointError(
                f'{path} has num_classes {several}, but {key} is {number}',
                'use the config and the --mini/--data options of its '
                'training; to train on other classes from its weights: train '
                f'--cfg-options load_from={path}',
            )
        more = f' and {len(wrong) - 3} more' if len(wrong) > 3 else ''
        raise CheckpointError(
            f'{path} does not fit the config: {"; ".join(wrong[:3])}{more}',
            'use the config and the --mini/--data options of its training',
        )
    _check_order(content, path, classes)
    return found


def _class_counts(
    model: nn.Module, shapes: dict[str, tuple]
) -> tuple[set[int], str, int]:
    """The number of classes of a checkpoint, and the option that has others.

    Args:
        model: The model.
        shapes: Name of a tensor -> its shapes in the checkpoint and in the
            model, which differ.

    Returns:
        tuple: Possible numbers, none if the shapes differ by more than that;
        the option and its value.
    """
    found: list[set[int]] = []
    options = {}
    for name, (there, here) in shapes.items():
        head, number, boxes = _head_of(model, name)
        if not number or there[1:] != here[1:]:
            return set(), '', 0
        options[f'model.{head}.num_classes'] = number
        # rows of each class, and perhaps of the background or YOLO's boxes
        per_class = (
            (here[0] // (number + extra), extra)
            for extra in (0, 1, boxes)
            if here[0] % (number + extra) == 0
        )
        found.append(
            {
                there[0] // rows - extra
                for rows, extra in per_class
                if there[0] % rows == 0 and there[0] > rows * extra
            }
        )
    if len(set(options.values())) != 1:
        return set(), '', 0
    return set.intersection(*found), *next(iter(options.items()))


def _head_of(model: nn.Module, name: str) -> tuple[str, int, int]:
    """The innermost module around a tensor that has a number of classes.

    Returns:
        tuple: Its name, the classes and what YOLO predicts beside them.
    """
    while '.' in name:
        name = name.rpartition('.')[0]
        head = model.get_submodule(name)
        number = getattr(head, 'num_classes', None)
        if isinstance(number, int):
            return name, number, getattr(head, 'num_attrib', number) - number
    return '', 0, 0


def _trained_classes(content: dict[str, Any]) -> Sequence[str] | None:
    """The classes that mmengine's Runner wrote into a checkpoint."""
    meta = (content.get('meta') or {}).get('dataset_meta') or {}
    return meta.get('classes') or meta.get('CLASSES')


def _check_order(
    content: dict[str, Any], path: str | Path, classes: Sequence[str] | None
) -> None:
    """Refuse the classes of the data in another order than when trained."""
    trained = _trained_classes(content)
    if not classes or not trained:
        return
    moved = [p for p in zip(trained, classes, strict=False) if p[0] != p[1]]
    if moved and sorted(trained) == sorted(classes):
        raise CheckpointError(
            f'{path} has the classes in another order than the data, first '
            f'{moved[0][0]!r} instead of {moved[0][1]!r}',
            'give the categories of the annotation file, or metainfo.classes '
            'of the config, the order of the training',
        )
