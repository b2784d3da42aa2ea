"""Every rule of tools/dev/check_repo.py fails when it is violated."""

import subprocess
import sys
from pathlib import Path

import check_code
import check_facts
import check_repo
import generate_index
import pytest
import readme_blocks
import similarity
import small_scale_page
from source_tree import Tree

ROOT = Path(__file__).parents[1]
CODE = 'mmdet_assigners/methods/toy'
NECK = f'{CODE}/neck.py'
CONFIG = 'configs/toy/toy_r50_1x_coco.py'
METAFILE = 'configs/toy/metafile.yml'
README = 'configs/toy/README.md'
TESTS = 'tests/methods/toy'
TODO = 'TODO' + '(new-method)'

STATEMENTS = '\n'.join(f'    v{i} = f{i}(x, {i})' for i in range(12))
FILES = {
    'mmdet_assigners/__init__.py': '"""Package."""\n',
    f'{CODE}/__init__.py': '',
    NECK: f'''\
"""Toy neck."""

from mmdet.registry import MODELS
from torch import Tensor


@MODELS.register_module()
class ToyNeck:
    """A toy."""

    def forward(self, x: Tensor) -> Tensor:
        """Refine (B, C, H, W)."""
        return x

    def _hidden(self, x: Tensor):
        return x


def compute(x: int) -> int:
    """No tensors here."""
{STATEMENTS}
    return v0
''',
    CONFIG: """\
# paper: table 1, AP 40.1 (base: 36.5), 8 GPUs x 2, lr 0.01
_base_ = 'mmdet::base/base.py'
model = dict(neck=dict(type='ToyNeck'))
""",
    METAFILE: """\
Collections:
  - Name: Toy
    Metadata:
      Summary: a toy
      Venue: CVPR 2020
      Categories: [neck]
      Status: M0
      Classes: [ToyNeck]
    Paper: {URL: 'https://arxiv.org/abs/1', Title: Toys}
    README: configs/toy/README.md
    Small Scale:
      - {Label: Toy, Config: toy_r50_1x_coco, Baseline: mmdet::base/base.py}
    Tables:
      - ID: main
        Caption: All toys.
        Rows: [mmdet::base/base.py, toy_r50_1x_coco]
Models:
  - Name: toy_r50_1x_coco
    In Collection: Toy
    Config: configs/toy/toy_r50_1x_coco.py
    Metadata: {Baseline: mmdet::base/base.py, Parameters: 2.5e+6}
    Description: the toy
    Published:
      - {Metric: box AP, Value: 40.1, Dataset: COCO val, Source: 'paper, t 1'}
""",
    'configs/baselines.yml': """\
Sources: {mmdet: {Title: zoo, URL: 'https://mmdet.org'}}
Baselines:
  - Config: mmdet::base/base.py
    Description: base
    Published:
      - {Metric: box AP, Value: 36.5, Dataset: COCO val, Source: mmdet}
""",
    README: """\
# Toy

<!-- status -->
<!-- end -->

| key | value |
| --- | --- |
| other | table |

<!-- table: main -->
<!-- end -->

<!-- sources -->
<!-- end -->
""",
    'README.md': '# All\n\n<!-- methods -->\n<!-- end -->\n',
    f'{TESTS}/golden/manifest.json': '{}\n',
    f'{TESTS}/golden_adapter.py': 'x = 1\n',
    'mmdet/necks/fpn.py': 'class FPN:\n    pass\n',
    'mmdet/.mim/configs/base/base.py': 'x = 1\n',
    'mmdet/.mim/configs/base/metafile.yml': """\
Models:
  - Name: base
    Config: configs/base/base.py
    Results: [{Task: Object Detection, Metrics: {box AP: 36.5}}]
""",
}
RESULTS = """\
    Results:
      - {Task: Object Detection, Dataset: COCO val, Metrics: {box AP: 39.9}}
"""


class Fake:
    """A small correct tree; the tests then break one thing."""

    def __init__(self, folder):
        self.root = folder / 'repo'
        self.mmdet = folder / 'site' / 'mmdet'
        for name, text in FILES.items():
            top = self.mmdet.parent if name.startswith('mmdet/') else self.root
            path = top / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        self.generate()

    def generate(self):
        assert generate_index.main(self.root) == 0

    def write(self, name, text, generate=True):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        if generate:
            self.generate()

    def replace(self, name, old, new, **kwargs):
        text = (self.root / name).read_text()
        assert old in text
        self.write(name, text.replace(old, new), **kwargs)

    def problems(self):
        tree = Tree(self.root, self.mmdet)
        return [str(problem) for problem in check_repo.check(tree)]


@pytest.fixture
def fake(tmp_path):
    return Fake(tmp_path)


def test_a_correct_tree_has_no_problems(fake):
    assert fake.problems() == []


def test_copied_statements(fake):
    copied = 'def g(y: int):\n' + STATEMENTS.replace(' = ', '  =  ')
    other = f'"""Copy."""\n\n\n{copied}\n'.replace('def g', 'def _g')
    name = 'mmdet_assigners/copy.py'
    fake.write(name, other)
    (line,) = fake.problems()
    assert line.startswith(f'{name}:1: 100% of the smaller file is found')
    (fake.root / name).unlink()
    (fake.mmdet / 'necks' / 'copy.py').write_text(other)
    (line,) = fake.problems()
    assert line.startswith(f'{NECK}:1: 100%')
    assert 'mmdet/necks/copy.py' in line


def test_allowed_copies_are_silent(fake, monkeypatch):
    body = f'"""Copy."""\n\n\ndef _g(x):\n{STATEMENTS}\n'
    (fake.mmdet / 'necks' / 'copy.py').write_text(body)
    allowed = {(NECK, 'mmdet/necks/copy.py'): 'reason'}
    monkeypatch.setattr(check_code, 'SIMILAR_ON_PURPOSE', allowed)
    assert fake.problems() == []


def test_similarity_is_the_share_of_runs():
    lines = [f's{i}' for i in range(20)]
    other = [f'o{i}' for i in range(30)]
    four = other[:10] + lines[5:9] + other[10:]
    pairs = [f's{i}' if i % 2 else f'o{i}' for i in range(40)]
    paths = [Path(name) for name in 'abc']
    ours = dict(zip(paths, (lines, four, pairs), strict=True))
    # 4 of 20 statements of a stand in b in one run; c shares only pairs
    assert similarity.similar_pairs(ours, {}, 0.1) == [
        (paths[0], paths[1], 0.2)
    ]
    assert similarity.similar_pairs(ours, {}, 0.2) == []


def test_normal_form_ignores_layout_and_headers():
    ours = 'import a\ndef f(x):\n    """Doc."""\n    y: int = "1"\n    if y:\n'
    ours += '        return (y +\n            x)\n'
    theirs = "def g(self,x):\n  y = '1'  # note\n  if (y):\n    return y + x\n"
    assert similarity.statements(ours) == similarity.statements(theirs)
    assert similarity.statements(ours) == ["y = '1'", 'If y', 'return y + x']


CLASS = '''
@MODELS.register_module()
class {name}:
    """Another."""
'''


@pytest.mark.parametrize(
    ('name', 'old', 'new', 'expected'),
    [
        (NECK, '(B, C, H, W)', 'the map (or not)', f'{NECK}:11: ToyNeck.forw'),
        (NECK, '"""No tensors here."""', '', f'{NECK}:19: compute has no doc'),
        (NECK, '"""A toy."""', '', f'{NECK}:8: ToyNeck has no docstring'),
        (NECK, '"""Toy neck."""\n', '', f'{NECK}:1: the module has no docs'),
        (NECK, 'ToyNeck', 'Toy2Neck', f'{METAFILE}:8: there is no class ToyN'),
        (NECK, 'ToyNeck', 'FPN', f'{NECK}:8: FPN is taken by mmdet/necks/fpn'),
        (
            NECK,
            'def compute',
            CLASS.format(name='NewNeck') + '\n\ndef compute',
            'NewNeck: no config and no test uses it',
        ),
        (
            NECK,
            'def compute',
            CLASS.format(name='NewNeck') + '\n\ndef compute',
            'NewNeck: the metafile does not list it',
        ),
        (NECK, 'return v0', '# /wo' + 'rk/x\n', "'/wo" + "rk/x' belongs to"),
        (README, 'table |', 'http:' + '//10.0.0.7/x', 'belongs to one machin'),
        (README, 'other', TODO, f'{README}:9: to do: | {TODO} | table |'),
        (CONFIG, '40.1', '39.1', f'{CONFIG}:1: the header lacks the publishe'),
        (CONFIG, '40.1', '39.1', f'{CONFIG}:1: 39.1 in the header is not in'),
        (CONFIG, '# paper', 'x = 1\n# paper', f'{CONFIG}:1: no header comm'),
        (CONFIG, 'model', 'x = 1\n' * 24 + 'model', f'{CONFIG}:1: 26 lines'),
        (
            METAFILE,
            'Config: configs/toy/toy_r50',
            'Config: configs/toy/toy_r51',
            f'{METAFILE}:12: there is no configs/toy/toy_r51_1x_coco.py',
        ),
        (
            METAFILE,
            'Config: configs/toy/toy_r50',
            'Config: configs/toy/toy_r51',
            f'{METAFILE}:12: toy_r50_1x_coco is not the name of configs/toy',
        ),
        (METAFILE, ', toy_r50_1x_coco]', ']', 'no table shows toy_r50_1x_co'),
        (METAFILE, 'Config: toy_r50', 'Config: toy_r51', ': no model toy_r51'),
        (
            METAFILE,
            'Baseline: mmdet::base/base',
            'Baseline: mmdet::base/no',
            'mmdet has no config base/no.py',
        ),
        (METAFILE, 'M0', 'draft', f'{METAFILE}:7: Status is draft'),
    ],
)
def test_rules(fake, name, old, new, expected):
    fake.replace(name, old, new)
    assert any(expected in line for line in fake.problems()), fake.problems()


@pytest.mark.parametrize(
    ('name', 'old', 'new', 'expected'),
    [
        (METAFILE, 'M0', 'M1', f'{README}:1: not up to date'),
        (METAFILE, 'a toy', 'a game', 'README.md:1: not up to date'),
        (METAFILE, 'the toy', 'the game', f'{README}:1: not up to date'),
        ('configs/baselines.yml', '36.5', '36.6', f'{README}:1: not up to'),
        ('configs/baselines.yml', '36.5', '36.6', 'mmdet says [36.5], not 36'),
        (README, '| 40.1', '| 40.2', f'{README}:1: not up to date'),
        (README, 'not run', '40.0', f'{README}:1: not up to date'),
        ('README.md', '| 1 | M0 |', '| 2 | M0 |', 'README.md:1: not up to da'),
        (README, ' main -->', ' x -->', 'no lines "<!-- table: main -->"'),
        (METAFILE, 'ID: main', 'ID: x', 'no lines "<!-- table: x -->"'),
        (README, 'end -->', 'end -->\n<!-- x -->\n<!-- end -->', 'unknown'),
        ('README.md', '<!-- end', '<!-- fin', 'no lines "<!-- methods -->"'),
    ],
)
def test_generated_parts(fake, name, old, new, expected):
    fake.replace(name, old, new, generate=False)
    assert any(expected in line for line in fake.problems()), fake.problems()


def test_readme_of_a_method(fake):
    """All that the README of the fixture takes from its metafile."""
    legend = '\n'.join(readme_blocks.wrap(readme_blocks.LEGEND))
    assert (
        (fake.root / README).read_text()
        == f"""\
# Toy

<!-- status -->
Status: M0 - reference cases pass.
<!-- end -->

| key | value |
| --- | --- |
| other | table |

<!-- table: main -->

All toys.

| config | what | published | our AP | params | FLOPs |
| --- | --- | --- | --- | --- | --- |
| `mmdet::base/base.py` | base | 36.5 (val; mmdet) | not run | not counted \
| not counted |
| [toy_r50_1x_coco](toy_r50_1x_coco.py) | the toy | 40.1 (val; paper, t 1) \
| not run | 2.50 M | not counted |

<!-- end -->

<!-- sources -->
{legend}

Sources:

- mmdet: [zoo](https://mmdet.org)
- paper: [Toys](https://arxiv.org/abs/1)
<!-- end -->
"""
    )


def test_measured_results_are_shown(fake):
    fake.replace(METAFILE, '    Published', f'{RESULTS}    Published')
    assert '| 39.9 (COCO val) |' in (fake.root / README).read_text()
    assert fake.problems() == []


def test_two_classes_of_one_name(fake):
    name = 'mmdet_assigners/other.py'
    fake.write(name, '"""Other."""\n' + CLASS.format(name='ToyNeck'))
    assert any('ToyNeck is taken by mmdet_a' in s for s in fake.problems())


@pytest.mark.parametrize(
    'name',
    [
        README,
        f'{CODE}/__init__.py',
        f'{TESTS}/golden/manifest.json',
        f'{TESTS}/golden_adapter.py',
    ],
)
def test_missing_files(fake, name):
    (fake.root / name).unlink()
    assert f'{METAFILE}:1: there is no {name}' in fake.problems()


def test_a_method_that_equals_mmdets(fake):
    """It has no reference cases, and its status says so."""
    for name in ('golden/manifest.json', 'golden_adapter.py'):
        (fake.root / TESTS / name).unlink()
    fake.replace(METAFILE, '      Status:', '      Equals: FPN\n      Status:')
    assert fake.problems() == []
    assert "equals mmdet's `FPN` by test" in (fake.root / README).read_text()


def test_long_file(fake):
    fake.write('tests/test_long.py', 'x = 1\n' * 501)
    assert fake.problems() == [
        'tests/test_long.py:501: 501 lines, at most 500'
    ]


def test_config_without_entry_and_same_name(fake):
    other = CONFIG.replace('toy/', 'game/')
    fake.write(other, FILES[CONFIG])
    assert fake.problems() == [
        f'{other}:1: its folder has no metafile.yml',
        f'{CONFIG}:1: same file name as {other}',
    ]
    (fake.root / other).unlink()
    fake.write('configs/toy/toy_new.py', FILES[CONFIG])
    assert f'configs/toy/toy_new.py:1: {METAFILE} does not list it' in (
        fake.problems()
    )


@pytest.mark.parametrize('name', ['METHODS.md', 'model-index.yml'])
def test_generated_files_are_current(fake, name):
    fake.write(name, 'old\n', generate=False)
    (line,) = fake.problems()
    assert line.startswith(f'{name}:1: not up to date')
    fake.generate()
    assert fake.problems() == []


def test_generated_texts(fake):
    assert (
        '| [Toy](configs/toy/README.md) '
        '| [CVPR 2020](https://arxiv.org/abs/1) | neck | M0 | 1 '
        f'| [methods/toy]({CODE}) | [methods/toy]({TESTS}) |'
    ) in (fake.root / 'METHODS.md').read_text()
    text = (fake.root / 'README.md').read_text()
    assert '| [Toy](configs/toy/README.md) (CVPR 2020) | a toy | 1 |' in text
    assert 'Status: M0 reference cases pass; M1 trains' in text
    index = (fake.root / 'model-index.yml').read_text()
    assert index == f'Import:\n  - {METAFILE}\n'


def test_two_baselines_of_small_scale_rows(fake):
    """Rows of one baseline stand together, behind it."""
    fake.replace(
        METAFILE,
        '    Tables:',
        '      - {Label: Alone, Config: toy_r50_1x_coco}\n    Tables:',
    )
    rows = small_scale_page.compared_rows(fake.root)
    assert [row.config for row in rows] == [
        'mmdet::base/base.py',
        'toy_r50_1x_coco',
        'toy_r50_1x_coco',
    ]


def test_a_broken_metafile_is_one_problem(fake, capsys):
    fake.replace(METAFILE, 'M0', 'M8', generate=False)
    (line,) = fake.problems()
    assert line.startswith(f"{METAFILE}:1: 'M8' is none of draft")
    assert generate_index.main(fake.root) == 1
    assert "'M8'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ('text', 'named'),
    [
        ('priors (P, 4) in pixels', True),
        ('(B, num_levels * A, H_l, W_l)', True),
        ('(..., 4) boxes', True),
        ('labels (G,)', True),
        ('a scalar', True),
        ('[B, G_max]', True),
        ('(N, A*4, H, W)', True),
        ('see (CVPR 2020)', False),
        ('(paper, section 3)', False),
        ('as in mmdet (or not)', False),
    ],
)
def test_shape_words(text, named):
    assert bool(check_code.SHAPE.search(text)) is named


@pytest.mark.parametrize(
    ('text', 'found'),
    [
        ('cd /' + 'tmp/x', True),
        ("'/" + "home/ann/data'", True),
        ('http:' + '//pip.corp/simple', True),
        ('http:' + '//127.0.0.1:8000', False),
        ('$TMP/' + 'work/x', False),
        ('docs/' + 'work/x', False),
        ('https://arxiv.org/abs/1', False),
    ],
)
def test_machine_paths(text, found):
    assert bool(check_facts.MACHINE.search(text)) is found


def test_git_decides_what_is_tracked(fake):
    subprocess.run(['git', 'init', '-q'], cwd=fake.root, check=True)
    fake.write('.gitignore', 'local/\n')
    fake.write('local/notes.md', TODO)
    assert fake.problems() == []
    fake.write('notes.md', TODO)
    assert fake.problems() == [f'notes.md:1: to do: {TODO}']


def test_this_tree_has_no_problems():
    done = subprocess.run(
        [sys.executable, ROOT / 'tools' / 'dev' / 'check_repo.py'],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
