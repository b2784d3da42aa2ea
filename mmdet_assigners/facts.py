"""What is known of a method: the types that the catalog returns."""

from dataclasses import dataclass
from typing import Any

# What each status adds to the one before it.
STATUSES = {
    'draft': 'generated, not written yet',
    'M0': 'reference cases pass',
    'M1': 'trains at small scale on real data',
    'M2': 'official weights convert, and the boxes are those that the '
    'official code writes, to 1e-3 px',
    'M3': 'a COCO number was measured',
}
CATEGORIES = (
    'assigner',
    'backbone',
    'coder',
    'detector',
    'head',
    'hook',
    'layer',
    'loss',
    'metric',
    'neck',
    'roi_head',
    'sampler',
    'transform',
)


@dataclass(frozen=True)
class Reference:
    """Something to read: a paper, a repository, a page."""

    title: str
    url: str


@dataclass(frozen=True)
class Published:
    """One number that others measured.

    ``source`` is a key of the method's sources, with the table behind a
    comma: ``paper, table 3``.
    """

    metric: str
    value: float
    dataset: str
    source: str
    note: str = ''

    @property
    def source_key(self) -> str:
        """The source without the table."""
        return self.source.partition(',')[0]

    @property
    def augmented(self) -> bool:
        """Whether images were mirrored or scaled in the test (``--tta``)."""
        return self.dataset.endswith(('flip test', 'multi-scale test'))


@dataclass(frozen=True)
class Model:
    """One config of a method, or one of mmdet's.

    Attributes:
        name: File name of the config without its suffix, or ``mmdet::...``.
        path: The config, relative to the folder above ``configs``, with
            ``/``; of mmdet's the name.
        description: What the config is, in the words of its table.
        label: Name in small-scale tables, of mmdet's configs only.
        in_paper: False if the paper has no such row.
        published: Numbers of others.
        parameters: Of the full model; None if not counted.
        flops: Multiply-adds for one image; None if not counted.
        metadata: All of the entry's ``Metadata``. ``FLOPs Image`` is the size
            of the image, e.g. ``640x640``, if it isn't 1280x800.
        results: What was measured for this project, in mim's form.
    """

    name: str
    path: str
    description: str = ''
    label: str = ''
    in_paper: bool = True
    published: tuple[Published, ...] = ()
    parameters: float | None = None
    flops: float | None = None
    metadata: dict[str, Any] | None = None
    results: tuple[dict[str, Any], ...] = ()

    @property
    def is_ours(self) -> bool:
        """False for a config of mmdet."""
        return not self.name.startswith('mmdet::')


@dataclass(frozen=True)
class Table:
    """A named table of a method: rows in order, ours and mmdet's."""

    id: str
    caption: str
    rows: tuple[Model, ...]


@dataclass(frozen=True)
class Gain:
    """Box AP of a method and of its baseline, published by one source.

    Backbone, schedule and split of the two are the same; ``note`` says what
    a reader has to know besides.
    """

    ap: float
    baseline_ap: float
    dataset: str
    source: str
    note: str = ''

    @property
    def value(self) -> float:
        """Points of AP that the method adds."""
        return round(self.ap - self.baseline_ap, 2)


@dataclass(frozen=True)
class SmallScaleRow:
    """A training at small scale.

    Attributes:
        label: Name of the row.
        config: Name of our config, or ``mmdet::...``.
        baseline: The config that it is compared with, if any.
        gain: What others measured for this pair on COCO, if they did.
        data: The datasets that have what it needs, as masks; empty: all.
    """

    label: str
    config: str
    baseline: str | None = None
    gain: Gain | None = None
    data: tuple[str, ...] = ()


@dataclass(frozen=True)
class Method:
    """A method: one folder of configs with its metafile.

    Attributes:
        slug: Name of its folders.
        name: Name as in the paper.
        summary: What it is, in one line.
        venue: Conference and year.
        categories: Some of :data:`CATEGORIES`.
        paper: The paper; 'unpublished' without a URL if there is none.
        status: A key of :data:`STATUSES`.
        classes: The classes that it registers.
        files: The files of these classes.
        models: Its configs; the first is the main one.
        tables: The tables of its README.
        sources: What ``Published.source`` refers to.
        small_scale: Rows of the small-scale page.
        synchronizations: How often the loss of the main config synchronizes
            with the device; None if not recorded yet.
        equals: Class of mmdet that it is tested against, if there are no
            reference cases.
    """

    slug: str
    name: str
    summary: str
    venue: str
    categories: tuple[str, ...]
    paper: Reference
    status: str
    classes: tuple[str, ...]
    files: tuple[str, ...]
    models: tuple[Model, ...]
    tables: tuple[Table, ...] = ()
    sources: dict[str, Reference] | None = None
    small_scale: tuple[SmallScaleRow, ...] = ()
    synchronizations: int | None = None
    equals: str | None = None

    @property
    def configs(self) -> tuple[str, ...]:
        """Names of the configs, without folder and suffix."""
        return tuple(model.name for model in self.models)


class MetafileError(ValueError):
    """A metafile breaks the contract; says the file and what is expected."""
