"""Checks what a reader may rely on; one line per problem, exit code 1 if any.

``python tools/dev/check_repo.py [--write]`` (``--write`` first regenerates
what follows from metafiles and results, see ``generate_index.py``). Reads
sources as text: nothing of the package is imported but the catalog, so it is
fast and works on a broken package.
"""

import argparse
import importlib.util
import sys
from pathlib import Path

import check_code
import check_facts
import check_words
import generate_index
from facts import ROOT, catalog
from source_tree import Problem, Tree

RULES = (
    check_code.check_similarity,
    check_code.check_classes,
    check_code.check_docstrings,
    check_code.check_length,
    check_facts.check_methods,
    check_facts.check_baselines,
    check_facts.check_headers,
    check_facts.check_leaf_configs,
    check_facts.check_generated,
    check_facts.check_texts,
    check_words.check_words,
)


def check(tree: Tree) -> list[Problem]:
    """All problems of a tree, sorted by file and line."""
    try:
        tree.methods  # noqa: B018  # several rules need it
        problems = [problem for rule in RULES for problem in rule(tree)]
    except SyntaxError as error:
        problems = [Problem('syntax', error.lineno or 1, str(error))]
    except catalog.MetafileError as error:
        path, _, message = str(error).partition(': ')
        problems = [Problem(path, 1, message)]
    return sorted(problems)


def main(argv: list[str] | None = None) -> int:
    """Check this tree."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        '--write',
        action='store_true',
        help='regenerate first',
    )
    if parser.parse_args(argv).write and generate_index.main() != 0:
        return 1
    spec = importlib.util.find_spec('mmdet')
    found = spec and spec.submodule_search_locations
    problems = check(Tree(ROOT, Path(found[0]) if found else None))
    print('\n'.join(map(str, problems)) or 'check_repo: no problems')
    return 1 if problems else 0


if __name__ == '__main__':
    sys.exit(main())
