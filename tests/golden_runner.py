"""Runs the cases of a golden root through one adapter per op.

An adapter is a function of a :class:`Case` that returns the tensors named in
the manifest's ``outputs``. It lives in
``tests/methods/<slug>/golden_adapter.py``::

    @adapter('sepc.pconv')
    def pconv(case):
        x = case.levels('x')
        module = case.load(PConv(...))
        outs = module(x)
        return case.results({f'out{i}': out for i, out in enumerate(outs)})
"""

import importlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

ADAPTERS: dict[str, Callable[['Case'], Mapping[str, Tensor]]] = {}


def adapter(op):
    """Register the adapter of an op."""

    def register(function):
        if op in ADAPTERS:
            raise KeyError(f'two adapters for {op}')
        ADAPTERS[op] = function
        return function

    return register


def load_adapters():
    """Import every adapter module; returns the table op -> adapter."""
    methods = Path(__file__).parent / 'methods'
    for path in sorted(methods.glob('*/golden_adapter.py')):
        importlib.import_module(f'methods.{path.parent.name}.{path.stem}')
    return ADAPTERS


def _matches(pattern, name):
    regex = re.escape(pattern).replace(r'\*', '.*')
    regex = re.sub(r'\\\{\w+\\\}', r'\\d+', regex)
    return re.fullmatch(regex, name) is not None


def _swap_ties(rows, reference):
    """Order detections whose scores tie in the reference by their numbers.

    Args:
        rows: (..., n, m), the score in column 4, in descending order.
        reference: Of this shape.
    """
    if rows.ndim > 2:
        pairs = zip(rows, reference, strict=True)
        return np.stack([_swap_ties(*pair) for pair in pairs])
    # rounded, so that noise in the first column leaves the second to decide
    keys = [column.round(3) for column in rows.T[::-1]]
    return rows[np.lexsort((*keys, -reference[:, 4]))]


@dataclass
class Case:
    """One golden case. Floating arrays are float64 leaves of the graph."""

    method: str
    name: str
    op: str
    params: dict
    tolerances: dict
    inputs: dict[str, Tensor]
    weights: dict[str, Tensor]
    expected: dict[str, np.ndarray]
    swappable: frozenset[str] = frozenset()
    module: nn.Module | None = None
    renames: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, folder, entry, method):
        def tensor(array):
            value = torch.from_numpy(array.copy())
            return value.double() if value.is_floating_point() else value

        with np.load(folder / entry['file']) as arrays:
            data = {name: arrays[name] for name in arrays.files}
        expected = {
            name: array
            for name, array in data.items()
            if any(_matches(p, name) for p in entry['outputs'])
        }
        weights = {
            name[2:]: tensor(array)
            for name, array in data.items()
            if name.startswith('w/')
        }
        inputs = {
            name: tensor(array)
            for name, array in data.items()
            if name not in expected and not name.startswith('w/')
        }
        for name, value in inputs.items():
            if value.is_floating_point() and 'cotangent' not in name:
                value.requires_grad_(f'grad_{name}' in expected)
        tolerances = {
            key: entry[key]
            for key in ('rtol', 'atol', 'grad_rtol', 'grad_atol')
        }
        swappable = frozenset(
            name
            for name in expected
            for pattern, text in entry['outputs'].items()
            if _matches(pattern, name) and 'may be swapped' in text
        )
        return cls(
            method,
            entry['case'],
            entry['op'],
            entry['params'],
            tolerances,
            inputs,
            weights,
            expected,
            swappable,
        )

    def __getitem__(self, name):
        return self.inputs[name]

    def levels(self, prefix):
        """Inputs ``prefix0, prefix1, ...`` as a list."""
        found = []
        while f'{prefix}{len(found)}' in self.inputs:
            found.append(self.inputs[f'{prefix}{len(found)}'])
        return found

    def load(self, module, rename: Callable[[str], str] = lambda name: name):
        """Load ``w/`` arrays into a module (float64), strictly.

        Args:
            module: Takes the weights; its gradients are reported as
                ``grad_w/<name in the golden>``.
            rename: Name in the golden -> name in the module.
        """
        module = module.double()
        self.renames = {name: rename(name) for name in self.weights}
        state = {self.renames[name]: w for name, w in self.weights.items()}
        missing, unexpected = module.load_state_dict(state, strict=False)
        missing = [m for m in missing if 'num_batches_tracked' not in m]
        if missing or unexpected:
            raise KeyError(f'missing {missing}, unexpected {unexpected}')
        self.module = module
        return module

    def results(self, outputs: Mapping[str, Tensor], scalar=None):
        """Outputs plus every gradient and buffer that the golden asks for.

        Args:
            outputs: Outputs of the computation by golden name.
            scalar: What is differentiated; by default the sum of
                ``output * cotangent_output`` (or ``cotangent``).
        """
        results = dict(outputs)
        if scalar is None and any('cotangent' in n for n in self.inputs):
            scalar = sum(
                (value * self.inputs[key]).sum()
                for name, value in outputs.items()
                for key in (f'cotangent_{name}', 'cotangent')
                if key in self.inputs
            )
        if scalar is not None and scalar.requires_grad:
            scalar.backward()
        for name in self.expected:
            if name in results or not name.startswith(('grad_', 'w_after/')):
                continue
            if name.startswith('w_after/'):
                key = name.removeprefix('w_after/')
                state = self.module.state_dict()
                results[name] = state[self.renames.get(key, key)]
                continue
            if name.startswith('grad_w/'):
                key = name.removeprefix('grad_w/')
                leaf = dict(self.module.named_parameters())[self.renames[key]]
            elif name.removeprefix('grad_') in self.inputs:
                leaf = self.inputs[name.removeprefix('grad_')]
            else:
                continue  # left to the comparison, which names it
            grad = leaf.grad
            results[name] = torch.zeros_like(leaf) if grad is None else grad
        return results

    def compare(self, results: Mapping[str, Tensor]) -> list[str]:
        """Differences from the golden, one line each; empty if none."""
        problems = []
        for name, reference in self.expected.items():
            if name not in results:
                problems.append(f'{name}: not computed')
                continue
            value = results[name]
            if isinstance(value, Tensor):
                value = value.detach().cpu().numpy()
            value = np.asarray(value)
            if name in self.swappable and value.shape == reference.shape:
                value = _swap_ties(value, reference)
                reference = _swap_ties(reference, reference)
            problem = self._difference(name, value, reference)
            if problem:
                problems.append(f'{name}: {problem}')
        return problems

    def _difference(self, name, value, reference):
        scalars = value.size == reference.size == 1
        if value.shape != reference.shape and not scalars:
            return f'shape {value.shape}, expected {reference.shape}'
        value = value.reshape(reference.shape)
        if reference.size == 0:
            return None
        if reference.dtype.kind != 'f':
            wrong = int((value != reference).sum())
            return f'{wrong} of {reference.size} differ' if wrong else None
        prefix = 'grad_' if name.startswith('grad') else ''
        rtol = self.tolerances[f'{prefix}rtol']
        atol = self.tolerances[f'{prefix}atol']
        reference = reference.astype(np.float64)
        if not np.isfinite(value).all():
            same = np.array_equal(value, reference, equal_nan=True)
            return None if same else 'not finite'
        error = np.abs(value - reference).max()
        bound = atol + rtol * np.abs(reference).max()
        return None if error <= bound else f'error {error:.3g} > {bound:.3g}'


def read_cases(roots: Sequence[Path]) -> list[Case | tuple]:
    """All cases under the roots, in the order of their manifests."""
    cases = []
    for root in roots:
        for manifest in sorted(Path(root).rglob('manifest.json')):
            content = json.loads(manifest.read_text())
            for entry in content['cases']:
                cases.append((manifest.parent, entry, content['method']))
    return cases
