"""Counts a detector's candidates over the boxes of a dataset.

``python -m mmdet_assigners.methods.sampling_free.prior_statistics CONFIG
[--data bccd] [--mini] [-o FILE]`` prints ``prior_prob`` and ``score_thr``;
FILE gets these and the thresholds per class, for ``test_cfg.class_score_thr``.

The optimal bias and the adaptive thresholds of Sampling-Free (arXiv
1909.04868) need the numbers of positive and negative candidates of the data
set under the detector's own anchors and matcher. Only annotations are read,
no image, and no network runs. The official code counts in batches of padded
images, here each image is padded alone. Flips don't change the numbers,
but for ties.
"""

import argparse
import math
from collections.abc import Iterator
from pathlib import Path

import torch
from mmdet.models.dense_heads import FCOSHead, RPNHead
from mmdet.models.dense_heads.anchor_head import AnchorHead
from mmdet.models.task_modules.prior_generators import anchor_inside_flags
from mmdet.registry import DATASETS, MODELS
from mmengine.config import Config, ConfigDict
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData
from torch import Tensor, nn

from ...files import write_json
from ...small_scale import load_config
from ...utils import leaf_datasets, type_name
from .functional import PriorStatistics, sigmoid_bias

Shape = tuple[int, int]


def count_candidates(
    cfg: Config, scale: Shape | None = None, limit: int | None = None
) -> PriorStatistics:
    """Count the candidates of a detector over its training set.

    Args:
        cfg: Config of a detector with an anchor-based head, an RPN or an FCOS
            head.
        scale: Long and short side that images are resized to fit, in
            pixels; by default that of ``Resize`` in the training pipeline.
        limit: Images to read at most.

    Returns:
        PriorStatistics: Of the dense head; an RPN has one class.

    Raises:
        TypeError: The head is of another type.
        ValueError: No scale is given and the pipeline has no fixed one.
    """
    head = dense_head(cfg.model)
    scale = scale or resize_scale(cfg)
    divisor = cfg.model.get('data_preprocessor', {}).get('pad_size_divisor', 1)
    counts = torch.zeros(head.num_classes + 1, dtype=torch.long)
    for number, (shape, boxes, labels) in enumerate(annotations(cfg)):
        if number == limit:
            break
        factor = min(max(scale) / max(shape), min(scale) / max(1, min(shape)))
        height, width = (int(side * factor + 0.5) for side in shape)
        gts = InstanceData(bboxes=boxes * factor, labels=labels)
        found = candidate_labels(head, gts, (height, width), divisor)
        found = found.masked_fill(found < 0, head.num_classes + 1)
        counts += found.bincount(minlength=len(counts) + 1)[:-1]
    *per_class, negatives = counts.tolist()
    return PriorStatistics(tuple(per_class), negatives)


def candidate_labels(
    head: nn.Module, gts: InstanceData, shape: Shape, divisor: int = 1
) -> Tensor:
    """Labels of the candidates of one image.

    Args:
        head: Anchor-based head, or FCOS'.
        gts: ``bboxes`` (G, 4) in pixels and ``labels`` (G,).
        shape: Height and width of the image in pixels.
        divisor: The image is padded to a multiple of it.

    Returns:
        Tensor: (P,) int64 class, C for negatives, -1 if ignored.

    Raises:
        TypeError: The head is of another type.
    """
    padded = [math.ceil(side / divisor) * divisor for side in shape]
    strides = [
        stride if isinstance(stride, int) else stride[0]
        for stride in head.prior_generator.strides
    ]
    sizes = [tuple(math.ceil(x / s) for x in padded) for s in strides]
    levels = head.prior_generator.grid_priors(sizes, device='cpu')
    if isinstance(head, FCOSHead):
        return torch.cat(head.get_targets(levels, [gts])[0])
    if not isinstance(head, AnchorHead):
        raise TypeError(
            'the candidates of anchor-based heads and of FCOSHead can be '
            f'counted, got {type(head).__name__}'
        )
    if isinstance(head, RPNHead):
        gts = InstanceData(
            bboxes=gts.bboxes, labels=torch.zeros_like(gts.labels)
        )
    priors = torch.cat(levels)
    flags = head.prior_generator.valid_flags(sizes, padded, 'cpu')
    border = head.train_cfg.get('allowed_border', -1)
    inside = anchor_inside_flags(
        priors, torch.cat(flags).bool(), shape, border
    )
    result = head.assigner.assign(InstanceData(priors=priors[inside]), gts)
    labels = result.labels.where(result.gt_inds > 0, head.num_classes)
    return labels.where(result.gt_inds >= 0, -1)


def dense_head(model: ConfigDict) -> nn.Module:
    """The dense head of a detector's config, built for training."""
    name = 'rpn_head' if 'rpn_head' in model else 'bbox_head'
    train_cfg = model.get('train_cfg')
    if name == 'rpn_head':
        train_cfg = train_cfg.rpn
    return MODELS.build(dict(**model[name], train_cfg=train_cfg))


def resize_scale(cfg: Config) -> Shape:
    """Scale of ``Resize`` in the training pipeline.

    Raises:
        ValueError: There is none.
    """
    for _, dataset in leaf_datasets(cfg.train_dataloader):
        for transform in dataset['pipeline']:
            if type_name(transform) == 'Resize':
                return tuple(transform['scale'])
    raise ValueError(
        'the training pipeline has no Resize of a fixed scale: give a scale'
    )


def annotations(cfg: Config) -> Iterator[tuple[Shape, Tensor, Tensor]]:
    """Height and width, boxes (G, 4) and labels (G,) of the training set.

    Ignored boxes are left out, images without boxes as the dataset says.
    """
    for _, node in leaf_datasets(cfg.train_dataloader):
        dataset = DATASETS.build(dict(node, pipeline=[]))
        for index in range(len(dataset)):
            info = dataset.get_data_info(index)
            objects = [
                (*instance['bbox'], instance['bbox_label'])
                for instance in info['instances']
                if not instance['ignore_flag']
            ]
            table = torch.tensor(objects, dtype=torch.float32).reshape(-1, 5)
            shape = (info['height'], info['width'])
            yield shape, table[:, :4], table[:, 4].long()


def write_statistics(path: Path, stats: PriorStatistics, source: str) -> None:
    """Write a JSON file that ``class_score_thr`` may name.

    Args:
        path: The file; it is replaced at once.
        stats: What was counted.
        source: What it was counted on, for the reader.
    """
    content = dict(
        source=source,
        num_classes=len(stats.per_class),
        positives=stats.positives,
        negatives=stats.negatives,
        prior_prob=stats.prior,
        bias=sigmoid_bias(stats.prior) if 0 < stats.prior < 1 else None,
        score_thr=stats.global_threshold,
        class_score_thr=stats.class_thresholds,
    )
    write_json(path, content)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description='Optimal prior and score thresholds of a detector on a '
        'dataset, from its annotations alone.'
    )
    parser.add_argument('config', help='file, name of ours or mmdet::NAME')
    parser.add_argument('--data', help='dataset other than the config says')
    parser.add_argument(
        '--mini', action='store_true', help='under the small-scale overlay'
    )
    parser.add_argument(
        '--scale', type=int, nargs=2, metavar=('LONG', 'SHORT')
    )
    parser.add_argument('--limit', type=int, help='maximum number of images')
    parser.add_argument('-o', '--out', type=Path, help='JSON file')
    args = parser.parse_args()
    init_default_scope('mmdet')
    try:
        data = args.data or ('shapes' if args.mini else None)
        cfg = load_config(args.config, args.mini, data)
    except (FileNotFoundError, ValueError) as error:
        parser.error(str(error))
    stats = count_candidates(cfg, args.scale, args.limit)
    print(f'positives  {stats.positives}')
    print(f'negatives  {stats.negatives}')
    print(f'prior_prob {stats.prior:.3g}')
    print(f'score_thr  {stats.global_threshold:.3g}')
    if args.out:
        source = f'{args.config} on {args.data or "its own data"}'
        write_statistics(args.out, stats, source)


if __name__ == '__main__':
    main()
