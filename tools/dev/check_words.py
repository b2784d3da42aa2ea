"""Words that this repository doesn't use, and what it says instead.

Spelling, American, is codespell's part.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from source_tree import Problem, Tree

_INSTEAD = {
    r'pictures?': 'image',
    r'data sets?': 'dataset',
    r'seams?': 'base class or extension point',
    r'mend(?:s|ed|ing)?': 'fix',
    r'laborator(?:y|ies)': 'analysis tools',
    r'tak(?:e|es|ing) no part': 'be excluded',
    r'of equal ones': 'ties go to the first',
    r'waits? for the device': 'synchronize with the device',
    r'from memory|unverified': 'a source, or nothing',
}
_DOCUMENTS = {r'goldens?': 'reference case'}
# names of files and options are no prose
_CODE = re.compile(r'```.*?```|`[^`\n]*`', re.DOTALL)


def _compiled(words: dict[str, str]) -> list[tuple[re.Pattern, str]]:
    return [
        (re.compile(rf'\b(?:{word})\b', re.IGNORECASE), instead)
        for word, instead in words.items()
    ]


WORDS = _compiled(_INSTEAD)
DOCUMENT_WORDS = _compiled(_INSTEAD | _DOCUMENTS)


def check_words(tree: Tree) -> Iterator[Problem]:
    """Code, configs and documents use the field's words."""
    for name, text in tree.texts.items():
        if name.endswith('.md'):
            words = DOCUMENT_WORDS
            text = _CODE.sub(lambda m: '\n' * m[0].count('\n'), text)
        elif name.endswith('.py'):
            words = WORDS
        else:
            continue
        if Path(name).stem.endswith('check_words'):
            continue
        for number, line in enumerate(text.splitlines(), 1):
            for pattern, instead in words:
                if found := pattern.search(line):
                    message = f'{found[0]!r}: say {instead}'
                    yield Problem(name, number, message)
