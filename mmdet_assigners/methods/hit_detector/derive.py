"""A config of the detector that a search has found.

``python -m mmdet_assigners.methods.hit_detector.derive GENOTYPE OUT.py``
"""

import argparse
from pathlib import Path
from typing import Any

import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope

from ...files import write_text
from ...utils import register_all_modules, resolve_config
from .genotype import read_genotype

BASE = 'hit-detector_faster-rcnn_1x_coco'
_TEXT = """# Found by a search: {source}. Starts from random weights.
_base_ = {base!r}
model = dict(
    backbone=dict(
        genotype={backbone},
        init_cfg=None,
    ),
    neck=dict(
        genotype={neck},
    ),
    roi_head=dict(
        bbox_head=dict(
            genotype={head},
        )
    ),
)
"""


def derive_config(
    genotype: dict[str, Any], base: str = BASE, source: str = 'a genotype'
) -> str:
    """Text of a config with the operations of a genotype.

    Args:
        genotype: As ``read_genotype`` returns it.
        base: Name or path of a config with ``HitBackbone``, ``HitPAFPN`` and
            ``HitBBoxHead``, of as many layers as the searched ones.
        source: Where the genotype is from, for the reader.

    Raises:
        FileNotFoundError: There is no such config.
        ValueError: The operations do not fit the layers of the base.
    """
    register_all_modules()
    text = _TEXT.format(
        source=source,
        base=str(Path(resolve_config(base)).resolve()),
        backbone=_lines(genotype['backbone']['genotype'], 12),
        neck=_lines(genotype['neck']['genotype'], 12),
        head=_lines(genotype['head']['genotype'], 16),
    )
    init_default_scope('mmdet')
    cfg = Config.fromstring(text, '.py')
    with torch.device('meta'):
        MODELS.build(cfg.model)
    return text


def _lines(ops: list[str], indent: int) -> str:
    """A list with an operation per line."""
    inner = ''.join(f'{" " * indent}{op!r},\n' for op in ops)
    return f'[\n{inner}{" " * (indent - 4)}]'


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description='Write the config of the detector that a search found.'
    )
    parser.add_argument('genotype', help='JSON file of the search')
    parser.add_argument('out', type=Path, help='config to write')
    parser.add_argument(
        '--base', default=BASE, help='config to inherit, default: %(default)s'
    )
    args = parser.parse_args()
    try:
        found = read_genotype(args.genotype)
        text = derive_config(found, args.base, args.genotype)
        write_text(args.out, text)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    print(f'{args.out}: train it with mmdet-assigners train {args.out}')


if __name__ == '__main__':
    main()
