"""The words that the repository doesn't use are found."""

import pytest
from check_words import check_words
from source_tree import Tree


def problems(folder, name, text):
    path = folder / name
    path.parent.mkdir(parents=True)
    path.write_text(text)
    return [str(problem) for problem in check_words(Tree(folder))]


@pytest.mark.parametrize(
    ('name', 'text', 'message'),
    [
        ('docs/page.md', 'Two {}.\n', ('pictures', 'image')),
        ('docs/page.md', 'Run the {}.\n', ('goldens', 'reference case')),
        ('tools/a.py', '# a {}\n', ('seam', 'base class')),
        ('tools/a.py', '# 0.8 ({})\n', ('from ' + 'memory', 'a source')),
    ],
)
def test_finds(tmp_path, name, text, message):
    word, instead = message
    (found,) = problems(tmp_path, name, text.format(word))
    assert found.startswith(f"{name}:1: '{word}': say {instead}")


def test_code_may_say_golden(tmp_path):
    assert problems(tmp_path, 'tests/a.py', '# golden\n') == []


def test_code_and_citations_keep_their_words(tmp_path):
    text = '`golden/`\n```bibtex\ntitle={A Picture}\n```\n'
    assert problems(tmp_path, 'docs/page.md', text) == []
