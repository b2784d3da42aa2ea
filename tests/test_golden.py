"""Golden cases: `pytest tests/test_golden.py --golden-root DIR`.

Dispatches on ``op`` to ``tests/methods/*/golden_adapter.py``. Ops without an
adapter are skipped and listed, or fail with ``--golden-strict``.
"""

import pytest
import torch
from golden_runner import Case, load_adapters


def test_golden(golden_entry, golden_strict):
    folder, entry, method = golden_entry
    run = load_adapters().get(entry['op'])
    if run is None:
        message = f'no adapter for op {entry["op"]}'
        pytest.fail(message) if golden_strict else pytest.skip(message)
    torch.manual_seed(0)
    case = Case.read(folder, entry, method)
    problems = case.compare(run(case))
    assert not problems, '\n'.join([f'{method}/{case.name}', *problems])
