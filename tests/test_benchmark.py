"""The benchmark harness, on work of known cost."""

import json
import sys
import time
from pathlib import Path

import pytest
import torch

FOLDER = Path(__file__).parent.parent / 'tools' / 'benchmark'


@pytest.fixture
def harness(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    import _harness

    yield _harness
    del sys.modules['_harness']


@pytest.mark.skipif(torch.cuda.is_available(), reason='counts on the CPU')
def test_peak_memory(harness):
    """Two tensors of 4 MiB and their sum are held at once."""

    def work():
        return torch.ones(2**20) + torch.ones(2**20)

    assert harness.peak_mib(work) == pytest.approx(12, abs=0.1)


def test_rows(harness, monkeypatch, tmp_path, capsys):
    order = []

    def sleeper(name, seconds):
        def work():
            order.append(name)
            time.sleep(seconds)

        return work

    def cases(quick):
        assert quick
        yield harness.Case(
            'nap n=1', 'long nap', sleeper('o', 0.01), sleeper('p', 0.03)
        )

    out = tmp_path / 'out.json'
    monkeypatch.setattr(sys, 'argv', ['nap.py', '--quick', '--json', str(out)])
    harness.main(cases, 'Naps.', quick_s=0.3)
    content = json.loads(out.read_text())
    assert content.keys() == {'rows', 'versions', 'machine', 'command'}
    assert content['command'] == f'python nap.py --quick --json {out}'
    assert content['versions']['torch'] == torch.__version__
    (row,) = content['rows']
    assert (row['name'], row['peer']) == ('nap n=1', 'long nap')
    assert row['ours_s'] >= 0.01 and row['peer_s'] >= 0.03
    assert row['ratio_min'] <= row['ratio'] <= row['ratio_max']
    assert row['ratio'] > 1.2
    # warm-up and memory apart, the two go by turns, each first every time
    assert ''.join(order[3:-2]).startswith('poopp')
    assert 'nap n=1 against long nap' in capsys.readouterr().out
