"""The documentation site: ``make docs``.

Method pages are made from ``configs/<method>/README.md``, other files of the
repository from their places; links between them become links of the site, and
links to sources links to the repository. A link to a file that is not there
is a warning, which ``make docs`` makes an error.
"""

import os
import re
import sys
from pathlib import Path

from sphinx.util import logging

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
sys.path.insert(0, str(ROOT))
logger = logging.getLogger(__name__)

project = 'mmdet_assigners'
copyright = 'the mmdet_assigners authors'
release = re.search(
    r"^__version__ = '(.+)'",
    (ROOT / 'mmdet_assigners' / '__init__.py').read_text(encoding='utf-8'),
    re.MULTILINE,
)[1]
REPOSITORY = 'https://github.com/mmdet-assigners/mmdet_assigners'

extensions = [
    'myst_parser',
    'sphinx.ext.autodoc',
    'sphinx.ext.autosummary',
    'sphinx.ext.mathjax',
    'sphinx.ext.napoleon',
    'sphinx_copybutton',
    'sphinx_design',
]
exclude_patterns = ['_build', 'results', 'images']
templates_path = ['_templates']
default_role = 'code'

html_theme = 'furo'
html_title = f'mmdet_assigners {release}'
html_static_path = ['_static']
html_css_files = ['wide.css']

myst_enable_extensions = ['colon_fence', 'dollarmath', 'tasklist']
myst_heading_anchors = 3

autosummary_generate = True
autodoc_default_options = {'members': True, 'show-inheritance': True}
autodoc_member_order = 'bysource'
autodoc_typehints = 'description'
autodoc_typehints_description_target = 'documented_params'
autodoc_typehints_format = 'short'
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
add_module_names = False

# Other projects are not linked, so that the build needs no network.
nitpick_ignore_regex = [
    (r'py:.*', r'(torch|mmcv|mmdet|mmengine|numpy|np|pathlib|argparse)\b.*'),
    (r'py:.*', r'collections\..*'),
    (r'py:.*', r'(pickle|types|pycocotools)\..*'),
    (
        r'py:class',
        r'(\w+Result|BaseBoxes|DetDataSample|InstanceData|Tensor)',
    ),
    (r'py:meth', r'(forward|predict|_bbox_post_process)'),  # of mmdet's heads
]

copybutton_prompt_text = r'\$ '
copybutton_prompt_is_regexp = True
linkcheck_ignore = [
    REPOSITORY + '.*',  # this version of the tree may not be pushed yet
]

# Pages made from files elsewhere in the repository.
PAGES = {
    ROOT / 'CHANGELOG.md': DOCS / 'changelog.md',
    ROOT / 'CONTRIBUTING.md': DOCS / 'contributing.md',
    ROOT / 'METHODS.md': DOCS / 'methods' / 'index.md',
    **{
        readme: DOCS / 'methods' / f'{readme.parent.name}.md'
        for readme in sorted((ROOT / 'configs').glob('*/README.md'))
    },
}
METHOD_LIST = """

```{{toctree}}
:hidden:
:maxdepth: 1

{pages}
```
"""
_LINK = re.compile(r'(?<=\]\()(?![a-z]+:|#)([^)\s#]+)(#[^)\s]*)?(?=\))')


def site_links(text: str, source: Path, page: Path) -> str:
    """Replace the relative links of a repository file.

    Args:
        text: Its text, as GitHub shows it.
        source: Where it is in the repository.
        page: Where it is in ``docs``.
    """

    def replace(match: re.Match) -> str:
        target = Path(os.path.normpath(source.parent / match[1]))
        anchor = match[2] or ''
        if target in PAGES:
            target = PAGES[target]
        elif not target.exists():
            logger.warning('%s links %s, which is missing', source, match[1])
        elif not target.is_relative_to(DOCS):
            kind = 'tree' if target.is_dir() else 'blob'
            path = target.relative_to(ROOT).as_posix()
            return f'{REPOSITORY}/{kind}/main/{path}{anchor}'
        return os.path.relpath(target, page.parent) + anchor

    return _LINK.sub(replace, text)


def write_pages(app: object) -> None:
    """Write the pages of :data:`PAGES` that changed."""
    for source, page in PAGES.items():
        text = site_links(source.read_text(encoding='utf-8'), source, page)
        if source.name == 'METHODS.md':
            slugs = [p.stem for p in PAGES.values() if p.parent == page.parent]
            pages = [slug for slug in slugs if slug != 'index']
            text += METHOD_LIST.format(pages='\n'.join(pages))
        page.parent.mkdir(exist_ok=True)
        if not page.is_file() or page.read_text(encoding='utf-8') != text:
            page.write_text(text, encoding='utf-8')


def read_page(app: object, docname: str, content: list[str]) -> None:
    """Replace the links of the pages that are written in ``docs``."""
    page = DOCS / f'{docname}.md'
    if page.is_file() and page not in PAGES.values():
        content[0] = site_links(content[0], page, page)


def find_short_name(app, env, node, content):
    """Resolve a name by its end, or last part, if it is unambiguous."""
    if node.get('refdomain') != 'py':
        return None
    domain = env.domains['py']
    target = node['reftarget'].removeprefix('.')
    for end in (f'.{target}', f'.{target.rpartition(".")[2]}'):
        found = {name for name in domain.objects if name.endswith(end)}
        if len(found) == 1:
            return domain.resolve_xref(
                env, node['refdoc'], app.builder, 'obj', *found, node, content
            )
    return None


def skip_fields(app, what, name, member, skip, options):
    """Leave out the fields of named tuples: their class documents them."""
    return True if type(member).__name__ == '_tuplegetter' else None


def describe_method(app, what, name, member, options, lines):
    """Say what a method's package is, by its metafile."""
    from mmdet_assigners.catalog import read_catalog

    slug = name.removeprefix('mmdet_assigners.methods.')
    for method in read_catalog() if what == 'module' and not lines else ():
        if method.slug == slug:
            lines += [f'{method.name}: {method.summary}.', '']
            lines.append(f'See :doc:`/methods/{slug}`.')


def setup(app: object) -> None:
    """Hook into the build."""
    app.connect('autodoc-process-docstring', describe_method)
    app.connect('autodoc-skip-member', skip_fields)
    app.connect('missing-reference', find_short_name)
    app.connect('builder-inited', write_pages)
    app.connect('source-read', read_page)
