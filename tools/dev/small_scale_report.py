"""Summarizes the small-scale results and draws the figures of their page.

Reads ``docs/results/small/<data>/*.json`` and the metafiles; writes
``docs/results/small/summary.json``, ``docs/images/small_scale_*.png`` and
``docs/small_scale.md``.
"""

import sys
from pathlib import Path

import generate_index
import small_scale_figures
from facts import ROOT, load
from small_scale_page import SUMMARY, compared_rows
from small_scale_stats import summarize


def main(root: Path = ROOT) -> int:
    """Write summary, figures and page; 1 if the page cannot be written."""
    try:
        rows = compared_rows(root)
        summary = summarize(root, rows)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    load('files').write_json(root / SUMMARY, summary)
    small_scale_figures.draw(root, summary, rows)
    return generate_index.main(root)


if __name__ == '__main__':
    sys.exit(main())
