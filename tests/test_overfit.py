"""Each method fits 16 images: AP50 > 0.9 on what it was trained on."""

import json
import shutil
from collections import defaultdict
from pathlib import Path

import pytest
from helpers import exception, main_configs
from mmengine.config import Config

from mmdet_assigners.datasets.roots import resolve_data
from mmdet_assigners.datasets.shapes import generate_shapes
from mmdet_assigners.experiments import Run, execute
from mmdet_assigners.files import write_json

EPOCHS = 160
IMAGES = 16
AP50 = 0.9
PERSON = 1  # category of COCO
OPTIONS = (
    # twice the steps of the overlay's 4 in about the same time
    'train_dataloader.batch_size=2',
    # evaluations and checkpoints take longer than an epoch
    f'train_cfg.val_begin={EPOCHS // 2}',
    'train_cfg.val_interval=20',
    'default_hooks.checkpoint.interval=20',
)
# what a method inherits (flips; YOLOv3: crops, zooms, colors) would make of
# 16 images too many: on the first of BCCD, in batches of 4, Sampling-Free
# has 0.77 with flips, 0.92 without
PLAIN = """
_base_ = {base!r}
custom_hooks = {hooks!r}
mini = dict(train_dataloader=dict(dataset=dict(pipeline={pipeline!r})))
"""


def richest_images(content):
    """Images of a dataset by the number of their classes, and all boxes.

    A class that only some of 16 images show is learned late.
    """
    classes = defaultdict(set)
    for box in content['annotations']:
        classes[box['image_id']].add(box['category_id'])
    images = sorted(content['images'], key=lambda i: -len(classes[i['id']]))
    return content | dict(images=images)


def large_people(content):
    """Photographs by the size of their smallest person, only the people."""
    people = [b for b in content['annotations'] if b['category_id'] == PERSON]
    smallest = defaultdict(list)
    for box in people:
        smallest[box['image_id']].append(box['bbox'][2] * box['bbox'][3])
    images = [i for i in content['images'] if i['id'] in smallest]
    images.sort(key=lambda i: -min(smallest[i['id']]))
    kept = [c for c in content['categories'] if c['id'] == PERSON]
    return content | dict(images=images, annotations=people, categories=kept)


def few_images(source, choose, root, masks=False):
    """The first images that ``choose`` names, of train, as train and val."""
    split = resolve_data(str(source), masks).train
    content = choose(json.loads(split.ann_file.read_text()))
    images = content['images'] = content['images'][:IMAGES]
    kept = {image['id'] for image in images}
    content['annotations'] = [
        box for box in content['annotations'] if box['image_id'] in kept
    ]
    (root / 'annotations').mkdir(parents=True)
    (root / 'images').mkdir()
    for name in ('train', 'val'):
        (root / 'annotations' / f'{name}.json').write_text(json.dumps(content))
    for image in images:
        shutil.copy(split.img_dir / image['file_name'], root / 'images')
    return root


@pytest.fixture(scope='module', params=['shapes', 'bccd', 'coco128'])
def images(request, tmp_path_factory):
    name = request.param
    root = tmp_path_factory.mktemp(name)
    few = root / 'few'
    if name == 'shapes':
        source = generate_shapes(root / 'all')
        return name, few_images(source, richest_images, few)
    source = Path('data') / name
    if not source.is_dir():
        pytest.skip(
            f'{name} is not part of the repository: put it at {source}'
        )
    if name == 'bccd':
        return name, few_images(source, richest_images, few)
    return name, few_images(source, large_people, few, masks=True)


def trains_masks(path):
    """Whether a method needs a dataset with masks."""
    cfg = Config.fromfile(path)
    return 'mask_head' in cfg.model or 'mask_head' in cfg.model.get(
        'roi_head', {}
    )


def plain_config(path, folder):
    """A config of the method on plain images, which stops when it fits."""
    stop = dict(
        type='EarlyStoppingHook',
        monitor='coco/bbox_mAP_50',
        rule='greater',
        stopping_threshold=AP50,
        patience=EPOCHS,
    )
    hooks = list(Config.fromfile(path).get('custom_hooks', []))
    # what changes while it trains has to fit in its last phase
    if not any(hook['type'] == 'TrainProgressHook' for hook in hooks):
        hooks.append(stop)
    config = folder / path.name
    pipeline = [
        dict(type='LoadImageFromFile'),
        dict(
            type='LoadAnnotations',
            with_bbox=True,
            with_mask=trains_masks(path),
        ),
        dict(type='Resize', scale=(320, 240), keep_ratio=True),
        dict(type='PackDetInputs'),
    ]
    content = PLAIN.format(
        base=str(path.resolve()),
        hooks=hooks,
        pipeline=exception(path, 'PLAIN_PIPELINE', pipeline),
    )
    config.write_text(content)
    return config


@pytest.mark.slow
@pytest.mark.parametrize('path', main_configs(), ids=lambda p: p.stem)
def test_overfits(request, path, images, tmp_path):
    data, images = images
    if (data != 'shapes') and trains_masks(path) != (data == 'coco128'):
        pytest.skip('BCCD is for methods without masks, COCO128 for others')
    reason = exception(path, 'DOES_NOT_OVERFIT', {}).get(data)
    if reason:
        request.applymarker(pytest.mark.xfail(strict=True, reason=reason))
    run = Run(
        str(plain_config(path, tmp_path)),
        str(images),
        EPOCHS,
        eval_on='train',
        options=OPTIONS + exception(path, 'OVERFIT_OPTIONS', ()),
    )
    result = execute(run, tmp_path / 'run', quiet=True)
    results = request.config.getoption('--overfit-results')
    if results:
        kept = ('bbox_mAP_50', 'last_epoch', 'versions')
        write_json(
            Path(results) / f'{path.stem}_{data}.json',
            {key: result[key] for key in kept},
        )
    assert result['bbox_mAP_50'] > AP50, result['curve']
