"""One HTML page to flip between configs and images."""

import base64
import html
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..analysis.assignment import ImageAssignment
from ..files import write_text
from .assignment import render
from .colors import GRAY, INK, LIGHT

_DPI = 110
_COLORS = f':root {{ --ink: {INK}; --gray: {GRAY}; --light: {LIGHT}; }}'
_STYLE = """
body { font: 14px/1.4 system-ui, sans-serif; margin: 16px; color: var(--ink); }
nav { position: sticky; top: 0; background: white; padding: 6px 0; }
nav div { margin: 4px 0; }
nav b { display: inline-block; width: 5em; color: var(--gray);
  font-weight: 400; }
button { font: inherit; margin: 2px; padding: 3px 9px; cursor: pointer;
  border: 1px solid var(--light); border-radius: 4px; background: white; }
button[aria-pressed=true] { background: var(--ink); color: white; }
main, section { overflow-x: auto; }
img { max-width: 100%; display: block; cursor: zoom-in; }
main.zoomed img { max-width: none; cursor: zoom-out; }
img[hidden] { display: none; }
table { border-collapse: collapse; margin-top: 16px; }
th, td { padding: 3px 12px 3px 0; text-align: right; }
th:first-child, td:first-child, th:nth-child(2), td:nth-child(2)
  { text-align: left; }
tr { border-bottom: 1px solid var(--light); }
tr[aria-current] { background: #eef2f8; }
p { color: var(--gray); }
@media (max-width: 600px) {
  body { margin: 8px; }
  nav { position: static; }
  nav b { display: block; }
  main { margin: 0 -8px; }
}
"""
_SCRIPT = """
const at = {image: 0, config: 0};
const pick = (what) => [...document.querySelectorAll(`[data-set=${what}]`)];
function show() {
  for (const part of document.querySelectorAll('[data-image]')) {
    const here = part.dataset.image == at.image
      && part.dataset.config == at.config;
    if (part.tagName == 'IMG') part.hidden = !here;
    else part.toggleAttribute('aria-current', here);
  }
  for (const what in at)
    pick(what).forEach(
      (b, i) => b.setAttribute('aria-pressed', i == at[what]));
}
function go(what, index) {
  const count = pick(what).length;
  at[what] = (index + count) % count;
  show();
}
for (const what in at)
  pick(what).forEach((b, i) => b.onclick = () => go(what, i));
const main = document.querySelector('main');
main.onclick = () => main.classList.toggle('zoomed');
// keys that scroll, and those with Ctrl or Alt, are the browser's
document.onkeydown = (event) => {
  const [what, step] = {
    ArrowLeft: ['config', -1], ArrowRight: ['config', 1],
    p: ['image', -1], n: ['image', 1],
  }[event.key] ?? [];
  const scrolls = what == 'config' && main.scrollWidth > main.clientWidth;
  if (what && !scrolls && !event.ctrlKey && !event.metaKey && !event.altKey)
    go(what, at[what] + step);
};
show();
"""


def write_page(
    names: Sequence[str],
    table: Sequence[Sequence[ImageAssignment]],
    class_names: Sequence[str],
    out: str | Path,
) -> Path:
    """Write assignments as one self-contained HTML page.

    Buttons and keys flip configs (left and right arrow) and images (n and
    p); keys that scroll are left alone. A click on an image shows it in full
    size. The PNGs are inside the page, which needs nothing else.

    Args:
        names: Name of each image.
        table: For each image one entry per config, the same configs in the
            same order.
        class_names: Names of the classes, by label.
        out: HTML file.

    Returns:
        Path of the file.

    Raises:
        ValueError: Nothing to show, or the images differ in their configs.
    """
    if not table or len(names) != len(table):
        raise ValueError(
            f'{len(names)} names for {len(table)} images: expected as many, '
            'and at least one'
        )
    configs = [row.name for row in table[0]]
    for rows in table:
        if [row.name for row in rows] != configs:
            raise ValueError(
                f'configs must be {configs} for every image, got '
                f'{[row.name for row in rows]}'
            )
    images, lines = [], []
    for i, (name, rows) in enumerate(zip(names, table, strict=True)):
        for j, row in enumerate(rows):
            place = f'data-image="{i}" data-config="{j}"'
            text = html.escape(f'{row.name} on {name}')
            hidden = ' hidden' if i or j else ''
            images.append(
                f'<img {place}{hidden} alt="{text}" '
                f'src="data:image/png;base64,{_png(row, class_names)}">'
            )
            lines.append(_line(place, name, row))
    page = f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Label assignment</title>
<style>{_COLORS}{_STYLE}</style>
</head>
<body>
<nav>
{_buttons('config', configs)}
{_buttons('image', names)}
</nav>
<main>
{chr(10).join(images)}
</main>
<p>Left and right arrow flip configs, n and p images; a click shows full
size.</p>
<section>
<table>
<tr><th>image</th><th>config</th><th>objects</th><th>without positives</th>
<th>positives</th><th>per object</th><th>median</th></tr>
{chr(10).join(lines)}
</table>
</section>
<script>{_SCRIPT}</script>
</body>
</html>
"""
    out = Path(out)
    write_text(out, page)
    return out


def _png(row: ImageAssignment, class_names: Sequence[str]) -> str:
    buffer = io.BytesIO()
    render([row], class_names, _DPI).savefig(buffer, format='png')
    return base64.b64encode(buffer.getvalue()).decode()


def _buttons(what: str, names: Sequence[str]) -> str:
    buttons = ''.join(
        f'<button data-set="{what}">{html.escape(name)}</button>'
        for name in names
    )
    return f'<div><b>{what}</b>{buttons}</div>'


def _line(place: str, name: str, row: ImageAssignment) -> str:
    totals = row.counts().sum(1)
    mean = f'{totals.mean():.1f}' if len(totals) else '-'
    median = f'{np.median(totals):g}' if len(totals) else '-'
    cells = [len(totals), int((totals == 0).sum()), totals.sum(), mean, median]
    texts = [html.escape(name), html.escape(row.name), *map(str, cells)]
    return f'<tr {place}>{"".join(f"<td>{t}</td>" for t in texts)}</tr>'
