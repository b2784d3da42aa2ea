import numpy as np
import pytest
import torch
from mmengine.config.utils import MODULE2PACKAGE
from mmengine.logging import HistoryBuffer

from mmdet_assigners import compat
from mmdet_assigners.diagnostics import checkpoints


def test_applying_twice_changes_nothing():
    import mmengine.config.config as module

    before = module.get_installed_path
    compat.apply()
    assert module.get_installed_path is before
    assert MODULE2PACKAGE['mmdet_assigners'] == 'mmdet_assigners'


def test_mmengine_checkpoint_loads(tmp_path):
    """The content that makes resume fail on torch >= 2.6."""
    path = tmp_path / 'epoch_1.pth'
    history = HistoryBuffer([1.0, 2.0], [1, 1])
    scalars = dict(a=np.float64(0.5), b=np.int64(3), c=np.arange(3))
    torch.save(dict(message_hub=dict(log=history), **scalars), path)
    loaded = torch.load(path, weights_only=True)
    assert loaded['message_hub']['log'].mean() == 1.5
    assert loaded['a'] == 0.5


def test_loads_after_mmengine_revoked_its_types(tmp_path):
    """onedl-mmengine allows the same types for the time of each load."""
    path = tmp_path / 'epoch_1.pth'
    history = HistoryBuffer([1.0, 2.0], [1, 1])
    torch.save(dict(message_hub=dict(log=history)), path)
    with torch.serialization.safe_globals([HistoryBuffer]):
        pass
    assert checkpoints.load(path)['message_hub']['log'].mean() == 1.5


def test_only_the_statistics_are_reachable():
    get = compat._history_buffer_getattr
    assert get(HistoryBuffer, 'mean') is HistoryBuffer.mean
    for owner, name in ((HistoryBuffer, '__init__'), (torch, 'load')):
        with pytest.raises(ValueError, match='only the statistics'):
            get(owner, name)


def test_a_hostile_checkpoint_is_refused(tmp_path):
    class Attack:
        def __reduce__(self):
            return getattr, (HistoryBuffer, '__init__')

    path = tmp_path / 'attack.pth'
    torch.save(dict(x=Attack()), path)
    with pytest.raises(Exception, match='only the statistics'):
        torch.load(path, weights_only=True)


def test_editable_packages_are_found(monkeypatch, tmp_path):
    """mmengine guesses a folder that a PEP 660 install does not have."""
    import mmengine.config.config as module

    monkeypatch.setattr(
        module, 'get_installed_path', lambda package: str(tmp_path / 'no')
    )
    compat.find_editable_packages()
    assert module.get_installed_path('mmdet').endswith('mmdet')


def test_warns_of_another_major_version(monkeypatch):
    monkeypatch.setattr(
        compat, 'installed_versions', lambda names: {'mmdet': '4.0.0'}
    )
    with pytest.warns(UserWarning, match='found 4.0.0'):
        compat.warn_untested_versions()
