"""The HTML page: self-contained, one PNG per image and config."""

import base64
import re
import shutil
import subprocess
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest
from test_analysis.hand_made import ASSIGNED, NAMES, make_assignment

from mmdet_assigners.visualization.page import write_page


class Page(HTMLParser):
    """Collects tags, sources and the script."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.script, self.open = [], '', []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ('meta', 'img'):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == 'script':
            self.script += data

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


@pytest.fixture
def page(tmp_path):
    rows = [
        make_assignment(ASSIGNED),
        make_assignment([-1] * 14, name='<b> & co'),
    ]
    out = write_page(
        ['one.jpg', 'two.jpg'], [rows, rows], NAMES, tmp_path / 'a' / 'b.html'
    )
    assert [p.name for p in out.parent.iterdir()] == ['b.html']
    return out.read_text(encoding='utf-8')


def test_one_image_shows_and_all_are_inside(page):
    parsed = Page(page)
    assert not parsed.open
    images = parsed.all('img')
    places = [(i['data-image'], i['data-config']) for i in images]
    assert places == [('0', '0'), ('0', '1'), ('1', '0'), ('1', '1')]
    assert ['hidden' in image for image in images] == [False, True, True, True]
    start = 'data:image/png;base64,'
    for image in images:
        assert image['src'].startswith(start)
        raw = base64.b64decode(image['src'].removeprefix(start))
        image = cv2.imdecode(np.frombuffer(raw, np.uint8), cv2.IMREAD_COLOR)
        assert image.shape[1] > 1000
    assert images[1]['alt'] == '<b> & co on one.jpg'


def test_style_respects_hidden(page):
    # a display rule for img beats the browser's own rule for hidden
    assert 'img[hidden] { display: none; }' in page


def test_needs_nothing_else(page):
    text = re.sub('base64,[^"]*', '', page)
    assert not re.search(r'https?:|@import|<link|src="(?!data:)', text)
    assert '<b> & co' not in text
    assert text.count('&lt;b&gt; &amp; co') == 5  # button, two alts, two lines


def test_numbers(page):
    lines = re.findall(r'<tr data-image.*?</tr>', page)
    assert len(lines) == 4
    cells = re.findall('<td>(.*?)</td>', lines[0])
    assert cells == ['one.jpg', 'a_config', '2', '0', '5', '2.5', '2.5']


@pytest.mark.skipif(not shutil.which('node'), reason='needs node')
def test_keys_flip(page, tmp_path):
    """Runs the script against a few lines of stand-in DOM."""
    stub = """
    const parts = [0, 1].flatMap(p => [0, 1].map(m =>
      ({tagName: 'IMG', dataset: {image: `${p}`, config: `${m}`}})));
    const buttons = () => [0, 1].map(() => ({setAttribute() {}}));
    const sets = {image: buttons(), config: buttons()};
    const main_part = {scrollWidth: 9, clientWidth: 9};
    globalThis.document = {
      querySelector: () => main_part,
      querySelectorAll: (q) => q == '[data-image]'
        ? parts : sets[q.match(/data-set=(\\w+)/)[1]],
    };
    """
    press = """
    const shown = () => parts.findIndex(p => !p.hidden);
    const seen = [shown()];
    const press = (key, more) => {
      document.onkeydown({key, ...more}); seen.push(shown());
    };
    for (const key of ['ArrowRight', 'n', 'ArrowRight', 'a', 'ArrowDown'])
      press(key);
    press('ArrowRight', {altKey: true}); // back in the browser's history
    main_part.scrollWidth = 10;
    press('ArrowRight'); // scrolls
    press('p');
    sets.image[1].onclick(); seen.push(shown());
    console.log(seen.join());
    """
    file = tmp_path / 'run.js'
    file.write_text(stub + Page(page).script + press)
    done = subprocess.run(['node', file], capture_output=True, text=True)
    assert done.stdout.strip() == '0,1,3,2,2,2,2,2,0,2', done.stderr


def test_refuses(tmp_path):
    row = make_assignment(ASSIGNED)
    other = make_assignment(ASSIGNED, name='other')
    with pytest.raises(ValueError, match='1 names for 0 images'):
        write_page(['a'], [], NAMES, tmp_path / 'a.html')
    with pytest.raises(ValueError, match=r"every image, got \['other'\]"):
        write_page(['a', 'b'], [[row], [other]], NAMES, tmp_path / 'a.html')
