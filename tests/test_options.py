"""Every option of ours is set by a config or a test of its method."""

import functools
import inspect
import re
from pathlib import Path

from mmdet_assigners.utils import config_root, registered_names

TESTS = Path(__file__).parent


def own_options(cls):
    """Options with a default that the class adds to its parents."""
    if '__init__' not in vars(cls):
        return []
    inherited = {
        name
        for parent in cls.__mro__[1:]
        for name in inspect.signature(parent.__init__).parameters
    }
    return [
        name
        for name, option in inspect.signature(cls).parameters.items()
        if option.default is not option.empty and name not in inherited
    ]


@functools.cache
def texts(slug):
    """Configs and tests of a method, or all of them."""
    folders = [config_root() / slug, TESTS / 'methods' / slug]
    if not slug:
        folders.append(TESTS)
    files = [file for folder in folders for file in folder.rglob('*.py')]
    return '\n'.join(file.read_text(encoding='utf-8') for file in files)


def unset(cls):
    found = re.search(r'\.methods\.(\w+)', cls.__module__)
    text = texts(found[1] if found else '')
    return [
        name
        for name in own_options(cls)
        if not re.search(rf'\b{name}\s*=|[\'"]{name}[\'"]', text)
    ]


def test_every_option_is_set_somewhere():
    names = {name: unset(cls) for name, cls in registered_names().items()}
    assert {name: options for name, options in names.items() if options} == {}


def test_notices_an_option():
    class New(registered_names()['APLoss']):
        def __init__(self, some_new_option=1, **kwargs):
            super().__init__(**kwargs)

    New.__module__ = 'mmdet_assigners.methods.ap_loss.loss'
    assert own_options(New) == ['some_new_option']
    assert unset(New) == ['some_new_option']
