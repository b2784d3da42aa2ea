"""NMS, soft-NMS and R2NMS on the pairs that one model predicts.

``python -m mmdet_assigners.methods.pbm.compare_nms CONFIG CHECKPOINT --data
ROOT [--mini] [--json FILE] [--image FILE]``. Recall and AP are those of full
boxes: of pycocotools, with 100 detections per image.
"""

import argparse
import contextlib
import io
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmdet.structures.bbox import bbox_overlaps
from mmengine.config import Config
from mmengine.runner import Runner
from mmengine.structures import InstanceData
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torch import nn

from ...analysis.detectors import build_model, evaluating
from ...cli import common
from ...files import write_json
from ...tables import markdown
from ...visualization import canvas
from ...visualization.colors import ALERT, MAIN
from .dataset import pair_of
from .nms import paired_nms

TYPES = ('nms', 'soft_nms', 'r2nms')
THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7)
_LIMIT = 100
_SHOWN_SCORE = 0.3


def candidates(model: nn.Module, cfg: Config) -> Iterator[InstanceData]:
    """The pairs of each image of ``val_dataloader`` before any NMS.

    Args:
        model: A PBM.
        cfg: Its config.

    Yields:
        InstanceData: ``bboxes`` and ``visible_bboxes`` (N, 4) in the original
        image, ``scores`` and ``labels`` (N,), with ``img_id`` and
        ``img_path``.
    """
    head = model.roi_head
    head.test_cfg = head.test_cfg.copy()
    head.test_cfg.update(nms=dict(type='nms', iou_threshold=1.0))
    head.test_cfg.max_per_img = -1
    with evaluating(model), torch.no_grad():
        for batch in Runner.build_dataloader(cfg.val_dataloader):
            for sample in model.test_step(batch):
                found = sample.pred_instances.cpu()
                found.set_metainfo(
                    dict(img_id=sample.img_id, img_path=sample.img_path)
                )
                yield found


def apply_nms(
    pairs: InstanceData, kind: str, threshold: float
) -> InstanceData:
    """The detections that remain, at most 100, best first.

    Args:
        pairs: Of an image, see :func:`candidates`.
        kind: ``'nms'``, ``'soft_nms'`` (linear) or ``'r2nms'``.
        threshold: IoU from which boxes compete.
    """
    cfg = dict(type=kind, iou_threshold=threshold)
    if kind == 'soft_nms':
        cfg.update(method='linear', min_score=1e-3)
    # one that shares the tensors: NMS changes scores
    return paired_nms(pairs[:], pairs.labels, cfg)[:_LIMIT]


def read_truth(ann_file: str | Path) -> COCO:
    """Ground truths, full boxes as ``bbox`` beside ``visible``, xywh."""
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(ann_file))
    for annotation in coco.dataset['annotations']:
        full, visible = pair_of(annotation)
        annotation.update(
            bbox=list(full), area=full[2] * full[3], visible=list(visible)
        )
    return coco


def objects_of(coco: COCO, img_id: int) -> InstanceData:
    """The objects of an image as if they were detected, all as sure.

    Args:
        coco: Of :func:`read_truth`.
        img_id: The image.
    """
    objects = coco.imgToAnns[img_id]
    corners, sides = (
        torch.tensor([[gt['bbox'][i:j], gt['visible'][i:j]] for gt in objects])
        .float()
        .view(-1, 2, 2)
        for i, j in ((0, 2), (2, 4))
    )
    boxes = torch.cat((corners, corners + sides), 2)
    return InstanceData(
        bboxes=boxes[:, 0],
        visible_bboxes=boxes[:, 1],
        scores=torch.ones(len(objects)),
        labels=torch.tensor([gt['category_id'] for gt in objects]).long(),
    )


def share_kept(coco: COCO, kind: str, threshold: float) -> float:
    """Share of the objects that NMS would leave of perfect detections."""
    kept = total = 0
    for img_id in coco.getImgIds():
        objects = objects_of(coco, img_id)
        total += len(objects)
        kept += len(apply_nms(objects, kind, threshold))
    return kept / max(total, 1)


def evaluate(coco: COCO, images: Sequence[InstanceData]) -> dict[str, float]:
    """Recall and AP of detections.

    Args:
        coco: Of :func:`read_truth`, its categories in the order of labels.
        images: Detections with ``img_id``.

    Returns:
        dict: ``recall`` at IoU 0.5, ``AP50`` and ``mAP`` in [0, 1].
    """
    classes = coco.getCatIds()
    rows = [
        dict(
            image_id=found.img_id,
            category_id=classes[label],
            bbox=[x1, y1, x2 - x1, y2 - y1],
            score=score,
        )
        for found in images
        for (x1, y1, x2, y2), score, label in zip(
            found.bboxes.tolist(),
            found.scores.tolist(),
            found.labels.tolist(),
            strict=True,
        )
    ]
    if not rows:
        return dict(recall=0.0, AP50=0.0, mAP=0.0)
    with contextlib.redirect_stdout(io.StringIO()):
        task = COCOeval(coco, coco.loadRes(rows), 'bbox')
        task.evaluate()
        task.accumulate()
    recall = task.eval['recall'][0, :, 0, -1]
    precision = task.eval['precision'][..., 0, -1]
    return dict(
        recall=float(recall[recall > -1].mean()),
        AP50=float(precision[0][precision[0] > -1].mean()),
        mAP=float(precision[precision > -1].mean()),
    )


def compare(
    coco: COCO, images: Sequence[InstanceData]
) -> list[dict[str, Any]]:
    """A row for each NMS and threshold.

    ``kept`` is :func:`share_kept`, the rest of :func:`evaluate`.

    Args:
        coco: Of :func:`read_truth`.
        images: Of :func:`candidates`.
    """
    return [
        dict(
            nms=kind,
            iou_threshold=threshold,
            kept=share_kept(coco, kind, threshold),
            **evaluate(
                coco, [apply_nms(one, kind, threshold) for one in images]
            ),
        )
        for kind in TYPES
        for threshold in THRESHOLDS
    ]


def found_objects(detections: InstanceData, boxes: torch.Tensor) -> np.ndarray:
    """Which objects (G, 4) a confident detection overlaps by half; (G,)."""
    sure = detections[detections.scores > _SHOWN_SCORE]
    if not len(sure) or not len(boxes):
        return np.zeros(len(boxes), bool)
    left = bbox_overlaps(sure.bboxes, boxes)
    found = torch.zeros(len(boxes), dtype=torch.bool)
    for row in left:  # each detection finds one object, the best ones first
        best = row.masked_fill(found, -1).argmax()
        found[best] |= row[best] > 0.5
    return found.numpy()


def draw(
    coco: COCO, images: Sequence[InstanceData], threshold: float, out: Path
) -> None:
    """Write an image: what NMS and R2NMS leave where they differ most.

    Args:
        coco: Of :func:`read_truth`.
        images: Of :func:`candidates`.
        threshold: Of both.
        out: PNG file.
    """
    import mmcv

    def lead(one: InstanceData) -> int:
        found = [
            found_objects(
                apply_nms(one, kind, threshold),
                objects_of(coco, one.img_id).bboxes,
            )
            for kind in ('r2nms', 'nms')
        ]
        return int(found[0].sum()) - int(found[1].sum())

    best = max(images, key=lead)
    boxes = objects_of(coco, best.img_id).bboxes
    figure = canvas.new_figure(7.4, 3.0)
    axes = figure.subplots(1, 2)
    for one, kind in zip(axes, ('nms', 'r2nms'), strict=True):
        detections = apply_nms(best, kind, threshold)
        found = found_objects(detections, boxes)
        canvas.show_image(one, mmcv.imread(best.img_path)[..., ::-1], 0.75)
        for box, score in zip(
            detections.bboxes, detections.scores, strict=True
        ):
            if score > _SHOWN_SCORE:
                canvas.draw_box(one, box.numpy(), ec=MAIN, lw=1.0)
        for box in boxes[~torch.from_numpy(found)]:
            canvas.draw_box(one, box.numpy(), ec=ALERT, lw=1.4, ls='--')
        name = dict(nms='NMS', r2nms='R2NMS')[kind]
        one.set_title(
            f'{name} at {threshold}: {found.sum()} of {len(found)} objects',
            fontsize=8,
        )
    figure.tight_layout()
    canvas.write_png(figure, out)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    common.add_config_arguments(parser)
    parser.add_argument('checkpoint', help='of a PBM')
    parser.add_argument('--json', type=Path, help='file for the rows')
    parser.add_argument('--image', type=Path, help='PNG file')
    parser.add_argument(
        '--image-threshold', type=float, default=0.4, help='of the image'
    )
    args = parser.parse_args()
    cfg = common.load_config(args)
    common.require_files(cfg, 'val_dataloader')
    with common.user_errors():
        model = build_model(cfg, args.checkpoint)
        images = list(candidates(model, cfg))
    data = cfg.val_dataloader.dataset
    coco = read_truth(os.path.join(data.get('data_root', ''), data.ann_file))
    rows = compare(coco, images)
    header = tuple(rows[0])
    print(
        markdown(
            header,
            [
                (kind, str(threshold), *(f'{v:.3f}' for v in values))
                for kind, threshold, *values in (row.values() for row in rows)
            ],
        )
    )
    if args.json:
        pairs = sum(len(one) for one in images)
        content = dict(images=len(images), candidates=pairs, rows=rows)
        write_json(args.json, content)
    if args.image:
        draw(coco, images, args.image_threshold, args.image)


if __name__ == '__main__':
    main()
