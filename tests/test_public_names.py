"""Released names stay: registered types and configs of public_names.json.

A name that goes is listed in CHANGELOG.md. New names need no entry here; the
list grows with each release.
"""

import json
from pathlib import Path

from mmdet_assigners.utils import config_root, registered_names

HERE = Path(__file__).parent
NAMES = json.loads((HERE / 'public_names.json').read_text())


def unannounced(names, found):
    """Names that are gone and not in the changelog."""
    changelog = (HERE.parent / 'CHANGELOG.md').read_text(encoding='utf-8')
    return [n for n in names if n not in found and n not in changelog]


def test_registered_types():
    assert unannounced(NAMES['registered'], registered_names()) == []


def test_configs():
    found = {path.stem for path in config_root().glob('*/*.py')}
    assert unannounced(NAMES['configs'], found) == []
    assert unannounced(['no-such-config'], found)
