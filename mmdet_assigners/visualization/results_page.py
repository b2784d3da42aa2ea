"""One HTML page of a report: tables, curves, classes."""

import html
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean

from ..reproduction.formats import cells, environments, heading, notes
from ..reproduction.report import Line, Section
from ..reproduction.results import Result
from .colors import INK, LIGHT, MAIN
from .line_chart import STYLE as CHART_STYLE
from .line_chart import Series, line_chart

_LEFT = ('config', 'what', 'published', 'commit')
_COLORS = f"""
:root {{ color-scheme: light dark; --ink: {INK}; --gray: #5f646c;
  --light: {LIGHT}; --main: {MAIN}; --paper: #fff; --shade: #f3f5f8; }}
@media (prefers-color-scheme: dark) {{
  :root {{ --ink: #e6e8eb; --gray: #a4a9b1; --light: #3d434c;
    --main: #7fa3d8; --paper: #15181c; --shade: #20252b; }}
}}
"""
_STYLE = """
* { box-sizing: border-box; }
body { font: 14px/1.45 system-ui, sans-serif; margin: 0 auto; padding: 16px;
  max-width: 1600px; color: var(--ink); background: var(--paper); }
h1 { font-size: 22px; margin: 0 0 8px; overflow-wrap: anywhere; }
h2 { font-size: 17px; margin: 28px 0 6px; overflow-wrap: anywhere; }
h3 { font-size: 14px; margin: 12px 0 4px; }
p { margin: 4px 0; color: var(--gray); overflow-wrap: anywhere; }
a { color: var(--main); }
.scroll { overflow-x: auto; container-type: inline-size; margin: 8px 0;
  border: 1px solid var(--light); border-radius: 6px; }
table { border-collapse: collapse; min-width: 100%; }
th, td { padding: 5px 10px; text-align: right; vertical-align: top;
  font-variant-numeric: tabular-nums; }
th { background: var(--shade); white-space: nowrap; }
td { border-top: 1px solid var(--light); }
.text { text-align: left; min-width: 11em; max-width: 24em;
  overflow-wrap: anywhere; }
th.text { min-width: 0; white-space: normal; }
@media (min-width: 600px) { td.text:first-child { min-width: 16em; } }
td.text:last-child { min-width: 0; }
button { font: inherit; color: inherit; background: none; border: 0;
  padding: 0; cursor: pointer; text-align: inherit; overflow-wrap: anywhere; }
th button { font-weight: 600; }
th button::after { content: " \\2195"; color: var(--gray); }
th[aria-sort=ascending] button::after { content: " \\2191"; }
th[aria-sort=descending] button::after { content: " \\2193"; }
td button { display: flex; gap: 6px; }
td button::before { content: "\\25b8"; color: var(--gray); }
td button[aria-expanded=true]::before { content: "\\25be"; }
.number { white-space: nowrap; }
button:focus-visible, .scroll:focus-visible { outline: 2px solid var(--main);
  outline-offset: 2px; }
tr.row[data-more] { cursor: pointer; }
tr.row:hover td { background: var(--shade); }
tr.more > td { padding: 0; text-align: left; }
.details { position: sticky; left: 0; width: 100cqw; padding: 8px 14px 14px;
  background: var(--shade); display: grid; gap: 4px 28px;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 340px), 1fr)); }
.overlay { position: static; width: auto; border-radius: 6px; }
.details > div { min-width: 0; }
figure { margin: 8px 0; min-width: 0; }
figcaption { font-weight: 600; }
.classes { columns: 220px auto; list-style: none; padding: 0; margin: 4px 0; }
.classes li { display: grid; grid-template-columns: 1fr 70px 3.2em; gap: 8px;
  align-items: center; break-inside: avoid; overflow-wrap: anywhere; }
.classes meter { width: 70px; }
.classes span:last-child { text-align: right; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; margin: 4px 0;
  font: 12px/1.4 ui-monospace, monospace; }
img { max-width: 100%; height: auto; display: block; }
@media (max-width: 600px) { body { padding: 10px; }
  .text { min-width: 9em; } th, td { padding: 5px 7px; } }
"""
_SCRIPT = """
const number = (text) => {
  const found = text.replace(/^\\u2212/, '-').match(/^[+-]?\\d+(\\.\\d+)?/);
  return found ? parseFloat(found[0]) : null;
};
for (const table of document.querySelectorAll('table.sortable')) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    head.querySelector('button').onclick = () => {
      const up = head.getAttribute('aria-sort') !== 'ascending';
      for (const one of heads) one.removeAttribute('aria-sort');
      head.setAttribute('aria-sort', up ? 'ascending' : 'descending');
      const text = (body) =>
        body.rows[0].cells[column].textContent.trim();
      const compare = (a, b) => {
        const [x, y] = [text(a), text(b)];
        const [m, n] = [number(x), number(y)];
        if (head.className === 'text' || (m === null && n === null))
          return (up ? 1 : -1) * x.localeCompare(y);
        if (m === null || n === null) return m === null ? 1 : -1;
        return (up ? 1 : -1) * (m - n);
      };
      [...table.tBodies].sort(compare).forEach((b) => table.append(b));
    };
  });
  for (const button of table.querySelectorAll('td button')) {
    const row = button.closest('tr');
    row.onclick = () => {
      if (String(getSelection())) return;  // of text to copy
      const more = row.nextElementSibling;
      more.hidden = !more.hidden;
      button.setAttribute('aria-expanded', !more.hidden);
    };
  }
}
"""
_POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline'"
)


@dataclass(frozen=True)
class Block:
    """A further part of the page.

    Attributes:
        title: Its heading.
        content: HTML, escaped.
    """

    title: str
    content: str


def results_page(
    title: str,
    sections: Sequence[Section],
    blocks: Sequence[Block] = (),
    expanded: bool = False,
) -> str:
    """A self-contained page; it requests nothing.

    A click on a head sorts its table, one on a row shows curves, classes,
    commands, versions and hardware; both work by keyboard.

    Args:
        title: Of the page.
        sections: A table each.
        blocks: What follows them.
        expanded: Show the curves of all rows of a section together.
    """
    parts = [
        _section(section, number, expanded)
        for number, section in enumerate(sections)
    ]
    parts += [
        f'<section><h2>{html.escape(block.title)}</h2>{block.content}'
        '</section>'
        for block in blocks
    ]
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<title>{html.escape(title)}</title>
<style>{_COLORS}{_STYLE}{CHART_STYLE}</style>
</head>
<body>
<h1>{html.escape(title)}</h1>
<p>A click on a head sorts, a click on a row shows its curves and classes.</p>
{chr(10).join(parts)}
<script>{_SCRIPT}</script>
</body>
</html>
"""


def plain_table(
    header: Sequence[str], rows: Sequence[Sequence[str]], label: str
) -> str:
    """A table of text that scrolls in its box."""
    head = ''.join(f'<th class="text">{html.escape(h)}</th>' for h in header)
    body = ''.join(
        '<tr>'
        + ''.join(f'<td class="text">{html.escape(c)}</td>' for c in row)
        + '</tr>'
        for row in rows
    )
    return (
        f'{_box(label)}<table><thead><tr>{head}</tr></thead>'
        f'<tbody>{body}</tbody></table></div>'
    )


def _box(label: str) -> str:
    """What scrolls can be focused, for those without a pointer."""
    return (
        f'<div class="scroll" tabindex="0" role="region" '
        f'aria-label="{html.escape(label)}">'
    )


def _section(section: Section, number: int, expanded: bool) -> str:
    header, rows = cells(section.lines)
    kinds = ['text' if name in _LEFT else 'number' for name in header]
    head = ''.join(
        f'<th class="{kind}" scope="col"><button>{html.escape(name)}</button>'
        '</th>'
        for name, kind in zip(header, kinds, strict=True)
    )
    bodies = [
        _row(line, row, kinds, f'more-{number}-{i}', len(header))
        for i, (line, row) in enumerate(zip(section.lines, rows, strict=True))
    ]
    name = heading(section)
    texts = [section.caption, *notes(section)]
    parts = [f'<p>{html.escape(text)}</p>' for text in texts if text]
    if section.sources:
        links = ', '.join(
            f'<a href="{html.escape(one.url)}">{html.escape(one.title)}</a>'
            for one in section.sources
            if one.url.startswith(('https://', 'http://'))
        )
        parts.append(f'<p>Published numbers: {links}</p>')
    return f"""<section>
<h2>{html.escape(name)}</h2>
{_box(name)}<table class="sortable">
<thead><tr>{head}</tr></thead>
{chr(10).join(bodies)}
</table></div>
{chr(10).join(parts)}
{_overlay(section) if expanded else ''}
</section>"""


def _row(
    line: Line, row: Sequence[str], kinds: Sequence[str], key: str, width: int
) -> str:
    first, *others = map(html.escape, row)
    if line.results:
        first = (
            f'<button aria-expanded="false" aria-controls="{key}">{first}'
            '</button>'
        )
    cells_ = ''.join(
        f'<td class="{kind}">{text}</td>'
        for text, kind in zip([first, *others], kinds, strict=True)
    )
    if not line.results:
        return f'<tbody><tr class="row">{cells_}</tr></tbody>'
    return (
        f'<tbody><tr class="row" data-more>{cells_}</tr>'
        f'<tr class="more" id="{key}" hidden><td colspan="{width}">'
        f'<div class="details">{_details(line)}</div></td></tr></tbody>'
    )


def _details(line: Line) -> str:
    results = line.results
    names = list(dict.fromkeys(n for r in results for n in r.curve))
    main = names[:1]
    parts = [
        line_chart(
            [
                Series(_seed(r), r.curve_epochs, r.curve[name])
                for r in results
                if name in r.curve
            ],
            results[0].unit,
            name,
        )
        for name in main
    ]
    losses = [Series(_seed(r), r.loss_steps, r.loss, False) for r in results]
    parts += [line_chart(losses, 'step', 'loss')]
    parts += [_metrics(results), _classes(results), _origin(results)]
    return ''.join(f'<div>{part}</div>' for part in parts if part)


def _seed(result: Result) -> str:
    return f'seed {result.seed}'


def _means(
    dicts: Sequence[dict[str, float | None]],
) -> dict[str, float]:
    """Mean of each name, over those that have it."""
    names = dict.fromkeys(name for one in dicts for name in one)
    found = {
        name: [v for one in dicts if (v := one.get(name)) is not None]
        for name in names
    }
    return {name: mean(values) for name, values in found.items() if values}


def _metrics(results: Sequence[Result]) -> str:
    items = ''.join(
        f'<li><span>{html.escape(name)}</span><span></span>'
        f'<span>{value:.3f}</span></li>'
        for name, value in _means([r.metrics for r in results]).items()
    )
    return f'<h3>Metrics</h3><ul class="classes">{items}</ul>'


def _classes(results: Sequence[Result]) -> str:
    found = _means([r.per_class for r in results])
    if not found:
        return ''
    items = ''.join(
        f'<li><span>{html.escape(name)}</span>'
        f'<meter value="{max(value, 0):.3f}" aria-label="AP"></meter>'
        f'<span>{value:.3f}</span></li>'
        for name, value in found.items()
    )
    return f'<h3>AP of the classes</h3><ul class="classes">{items}</ul>'


def _origin(results: Sequence[Result]) -> str:
    commands = dict.fromkeys(c for r in results for c in r.commands)
    folders = dict.fromkeys(r.work_dir for r in results)
    commits = dict.fromkeys(r.commit for r in results if r.commit)
    lines = [*environments(results), *(f'commit {one}' for one in commits)]
    text = ''.join(f'<p>{html.escape(line)}</p>' for line in lines)
    code = html.escape('\n'.join([*commands, *folders]))
    return f'<h3>Commands, folders</h3><pre>{code}</pre>{text}'


def _overlay(section: Section) -> str:
    """The metric of the table and the loss, of all lines."""
    curves, losses, unit = [], [], 'epoch'
    lengths = {line.length for line in section.lines if line.length}
    for line in section.lines:
        for result in line.results:
            unit = result.unit
            name = line.config
            if len(lengths) > 1:
                name += f', {result.epochs} {unit}s'
            if len(line.results) > 1:
                name += f', {_seed(result)}'
            none = [None] * len(result.curve_epochs)
            values = result.curve.get(section.metric, none)
            curves.append(Series(name, result.curve_epochs, values))
            losses.append(Series(name, result.loss_steps, result.loss, False))
    charts = [
        line_chart(curves, unit, section.metric),
        line_chart(losses, 'step', 'loss'),
    ]
    return (
        '<div class="details overlay">'
        + ''.join(f'<div>{one}</div>' for one in charts if one)
        + '</div>'
    )
