"""Small models and batches for the tests."""

import ast
import copy
import functools
import importlib
from pathlib import Path

import numpy as np
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmengine.structures import InstanceData

from mmdet_assigners.catalog import read_catalog
from mmdet_assigners.small_scale import (
    load_config,
    merge_mini,
    set_num_classes,
    shrink_model,
)
from mmdet_assigners.utils import config_path, config_root

# x1, y1, x2, y2 in pixels of a 128x160 image: a level each, one elongated
BOXES = [
    [8, 10, 30, 34],
    [40, 20, 100, 90],
    [5, 60, 155, 84],
    [2, 2, 150, 120],
]

HERE = Path(__file__).parent
STRIDES = [8, 16, 32]
# a RetinaNet-like head for images of 128x160
TINY_RETINA = dict(
    num_classes=2,
    in_channels=8,
    feat_channels=8,
    stacked_convs=1,
    anchor_generator=dict(
        type='AnchorGenerator',
        octave_base_scale=4,
        scales_per_octave=2,
        ratios=[0.5, 1.0],
        strides=STRIDES,
    ),
)


def leaf_configs() -> list[Path]:
    """Every config that a user can train."""
    return sorted(
        path
        for path in config_root().glob('*/*.py')
        if not path.parent.name.startswith('_')
        and not path.name.startswith('_')
    )


def main_configs() -> list[Path]:
    """The config that stands for its method: the first of its metafile."""
    return [Path(config_path(m.models[0].name)) for m in read_catalog()]


def exception(path, name, default=None):
    """What ``tests/methods/<slug>/exceptions.py`` says, if it is there.

    Args:
        path: A config of the method.
        name: ``BY_IMAGE``: module, attribute and value that uncouple the
            images of a process, or a list of them; ``UP_TO_A_FACTOR``: why
            gradients of two processes differ by a factor; ``NO_GRADIENT``:
            parameter -> why it gets none; ``DOES_NOT_OVERFIT``: dataset ->
            what was measured; ``OVERFIT_OPTIONS``: of its overfit runs;
            ``PLAIN_PIPELINE``: how it loads images without
            augmentation; ``REPEATS``: config -> others with the same
            classes; ``FINDS_NOTHING``: configs that find no objects with
            untrained weights, whatever the thresholds.
        default: If there is nothing.
    """
    slug = path.parent.name
    if not (HERE / 'methods' / slug / 'exceptions.py').is_file():
        return default
    module = importlib.import_module(f'methods.{slug}.exceptions')
    return getattr(module, name, default)


@functools.lru_cache(maxsize=2)
def _read_config(path) -> Config:
    return Config.fromfile(path)


def read_config(path) -> Config:
    """A config of one's own; mmengine takes half a second to read one."""
    init_default_scope('mmdet')
    return copy.deepcopy(_read_config(path))


def mini_config(path, num_classes=2) -> Config:
    """A config as the small-scale overlay makes it, without data."""
    cfg = read_config(path)
    shrink_model(cfg.model)
    merge_mini(cfg)
    set_num_classes(cfg.model, num_classes)
    return cfg


def change_of(path) -> str:
    """In what a config's small model differs from that of its base.

    'numbers': it runs the same code (the overlay replaces backbones anyway);
    'options': of the same classes; 'types': in classes, or the base is
    mmdet's.
    """
    tree = ast.parse(path.read_text())
    values = {
        ast.unparse(node.targets[0]): node.value
        for node in tree.body
        if isinstance(node, ast.Assign)
    }
    if not ast.unparse(values['_base_']).startswith("'./"):
        return 'types'
    if any(name == 'mini' or '[' in name for name in values):
        return 'types'
    model = values.get('model', ast.Constant(0))
    for call in ast.walk(model):
        if isinstance(call, ast.Call):
            call.keywords = [k for k in call.keywords if k.arg != 'backbone']
    nodes = list(ast.walk(model))
    if any(isinstance(n, ast.keyword) and n.arg == 'type' for n in nodes):
        return 'types'
    numbers = all(
        isinstance(node.value, int | float)
        and not isinstance(node.value, bool)
        for node in nodes
        if isinstance(node, ast.Constant)
    )
    return 'numbers' if numbers else 'options'


def mini_model(path, num_classes=2, seed=0):
    """The shrunk model of a config, with initialized weights."""
    torch.manual_seed(seed)
    model = MODELS.build(mini_config(path, num_classes).model)
    model.init_weights()
    return model


def initial_bias(name: str, layer: str, mini: bool = False) -> float:
    """Bias of a layer of a config's untrained head, equal in all channels."""
    init_default_scope('mmdet')
    head = MODELS.build(load_config(name, mini).model.bbox_head)
    head.init_weights()
    return head.get_submodule(layer).bias.unique().item()


def make_feats(
    strides=STRIDES,
    batch=2,
    size=(128, 160),
    channels=8,
    seed=1,
    dtype=torch.float32,
):
    """Random feature maps (batch, channels, H_l, W_l) of an image size."""
    generator = torch.Generator().manual_seed(seed)
    height, width = size
    return [
        torch.randn(
            (batch, channels, height // stride, width // stride),
            generator=generator,
            dtype=dtype,
        )
        for stride in strides
    ]


def make_gts(boxes_per_image, labels_per_image, dtype=torch.float32):
    """Ground truths of images, as ``loss_by_feat`` takes them."""
    return [
        InstanceData(
            bboxes=torch.tensor(boxes, dtype=dtype).view(-1, 4),
            labels=torch.tensor(labels, dtype=torch.long),
        )
        for boxes, labels in zip(
            boxes_per_image, labels_per_image, strict=True
        )
    ]


def demo_batch(boxes_per_image, size=(128, 160), seed=0, num_classes=2):
    """Noise images with the given boxes.

    Args:
        boxes_per_image: A list of xyxy boxes per image.
        size: Height and width in pixels.
        seed: Of the noise.
        num_classes: Labels cycle through these.

    Returns:
        Batch as a data loader gives it to ``data_preprocessor``.
    """
    generator = torch.Generator().manual_seed(seed)
    inputs, samples = [], []
    for index, boxes in enumerate(boxes_per_image):
        image = torch.randint(
            0, 255, (3, *size), generator=generator, dtype=torch.uint8
        )
        sample = DetDataSample(
            metainfo=dict(
                img_id=index,
                img_shape=size,
                ori_shape=size,
                scale_factor=(1.0, 1.0),
                batch_input_shape=size,
                pad_shape=size,
            )
        )
        sample.gt_instances = InstanceData(
            bboxes=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
            labels=torch.arange(len(boxes)) % num_classes,
            masks=box_masks(boxes, size),
        )
        sample.ignored_instances = InstanceData(
            bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.long)
        )
        inputs.append(image)
        samples.append(sample)
    return dict(inputs=inputs, data_samples=samples)


def box_masks(boxes, size) -> BitmapMasks:
    """Masks that fill the boxes, for models that learn masks."""
    masks = np.zeros((len(boxes), *size), np.uint8)
    for mask, box in zip(masks, boxes, strict=True):
        x1, y1, x2, y2 = (max(0, round(side)) for side in box)
        mask[y1:y2, x1:x2] = 1
    return BitmapMasks(masks, *size)


def losses_of(model, batch, training=True):
    """The loss dict of a batch."""
    data = model.data_preprocessor(batch, training)
    return model(**data, mode='loss')


def total_loss(losses):
    """Sum of the entries that mmengine would sum."""
    return sum(
        sum(value) if isinstance(value, list | tuple) else value.sum()
        for name, value in losses.items()
        if 'loss' in name
    )


def train_with_progress(
    model, dataset, work_dir, train_cfg, batch_size=1, **options
):
    """Run a tiny model with the ``TrainProgressHook`` in a real runner."""
    runner = Runner(
        model,
        str(work_dir),
        train_dataloader=dict(
            dataset=dataset,
            batch_size=batch_size,
            num_workers=0,
            sampler=dict(type='DefaultSampler', shuffle=False),
        ),
        train_cfg=train_cfg,
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=1e-4)),
        custom_hooks=[dict(type='mmdet.TrainProgressHook')],
        default_scope='mmdet',
        experiment_name=f'{work_dir.name}_{len(list(work_dir.iterdir()))}',
        log_level='WARNING',
        **options,
    )
    runner.train()
