"""The metric of the WIDER FACE benchmark."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmdet.registry import METRICS
from mmengine.evaluator import BaseMetric
from numpy.typing import NDArray
from torch import Tensor

from .wider_face import wider_face_ap

SUBSETS = ('easy', 'medium', 'hard')


@METRICS.register_module()
class WIDERFaceMetric(BaseMetric):
    """Easy, medium and hard AP of WIDER FACE by the official protocol.

    WIDER FACE: A Face Detection Benchmark (CVPR 2016, arXiv 1511.06523); see
    :func:`~.wider_face.wider_face_ap`. Images are identified by their file
    names, which are unique in WIDER FACE. All detections count as faces.

    Args:
        ann_file: The official ``wider_face_val.mat``; ``wider_easy_val.mat``,
            ``wider_medium_val.mat`` and ``wider_hard_val.mat`` lie beside it.
        iou_thr: Minimum IoU of a hit (official 0.5).
        num_thresholds: Score thresholds of the curve (official 1000).
        partial: Evaluate only the images that were predicted; otherwise
            missing ones are an error.
        collect_device: As in mmengine.
        prefix: Of the result's keys; default ``wider_face``.
        collect_dir: As in mmengine.

    Raises:
        FileNotFoundError: A ground-truth file isn't there.
        ValueError: A file hasn't the content of the official one.
    """

    default_prefix = 'wider_face'

    def __init__(
        self,
        ann_file: str,
        iou_thr: float = 0.5,
        num_thresholds: int = 1000,
        partial: bool = False,
        collect_device: str = 'cpu',
        prefix: str | None = None,
        collect_dir: str | None = None,
    ) -> None:
        super().__init__(collect_device, prefix, collect_dir)
        if not 0 < iou_thr <= 1:
            raise ValueError(f'iou_thr must be in (0, 1], got {iou_thr}')
        if num_thresholds < 1:
            raise ValueError(
                f'num_thresholds must be at least 1, got {num_thresholds}'
            )
        self.iou_thr = iou_thr
        self.num_thresholds = num_thresholds
        self.partial = partial
        self.faces, self.subsets = read_ground_truth(Path(ann_file))

    def process(
        self, data_batch: Any, data_samples: Sequence[dict[str, Any]]
    ) -> None:
        """Keep the detections of a batch.

        Args:
            data_batch: Not used.
            data_samples: With ``img_path`` and ``pred_instances``: bboxes
                (M, 4) xyxy in pixels of the original image, scores (M,).
        """
        for sample in data_samples:
            if 'img_path' not in sample:
                raise ValueError(
                    'WIDERFaceMetric needs img_path: add it to meta_keys of '
                    f'PackDetInputs; the sample has {sorted(sample)}'
                )
            found = sample['pred_instances']
            boxes, scores = _array(found['bboxes']), _array(found['scores'])
            rows = np.concatenate(
                (boxes[:, :2], boxes[:, 2:] - boxes[:, :2], scores[:, None]),
                axis=1,
            )
            self.results.append((Path(sample['img_path']).stem, rows))

    def compute_metrics(self, results: list) -> dict[str, float]:
        """AP of each subset.

        Args:
            results: Name and (M, 5) detections of each image.

        Returns:
            dict: ``AP_easy``, ``AP_medium`` and ``AP_hard`` in [0, 1].

        Raises:
            ValueError: Images without ground truth or without predictions.
        """
        found = dict(results)
        unknown = sorted(found.keys() - self.faces.keys())
        if unknown:
            raise ValueError(
                f'{len(unknown)} predicted images are not in the ground '
                f'truth, first {unknown[0]!r}'
            )
        missing = sorted(self.faces.keys() - found.keys())
        if missing and not self.partial:
            raise ValueError(
                f'{len(missing)} of {len(self.faces)} images were not '
                f'predicted, first {missing[0]!r}; partial=True evaluates '
                'the others'
            )
        names = sorted(found)
        return {
            f'AP_{subset}': value
            for subset, value in wider_face_ap(
                [found[name] for name in names],
                [self.faces[name] for name in names],
                {
                    subset: [kept[name] for name in names]
                    for subset, kept in self.subsets.items()
                },
                self.iou_thr,
                self.num_thresholds,
            ).items()
        }


def read_ground_truth(
    path: Path,
) -> tuple[dict[str, NDArray], dict[str, dict[str, NDArray]]]:
    """Read the four official ground-truth files.

    Args:
        path: ``wider_face_val.mat``; the others lie beside it.

    Returns:
        tuple: Image name without suffix -> (N, 4) x, y, width, height; and
        for each subset image name -> numbers of its faces, from 1.

    Raises:
        FileNotFoundError: A file isn't there.
        ValueError: A file hasn't the content of the official one.
    """
    official = _load(path, ('file_list', 'face_bbx_list'))
    names = [str(name.ravel()[0]) for name in _cells(official['file_list'])]
    if len(set(names)) != len(names):
        raise ValueError(f'{path}: file_list names an image twice')
    faces = [
        np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
        for boxes in _cells(official['face_bbx_list'])
    ]
    _same_length(path, 'face_bbx_list', faces, names)
    subsets = {}
    for subset in SUBSETS:
        file = path.with_name(path.name.replace('face', subset))
        numbers = [
            np.asarray(kept, dtype=np.int64).ravel()
            for kept in _cells(_load(file, ('gt_list',))['gt_list'])
        ]
        _same_length(file, 'gt_list', numbers, names)
        subsets[subset] = dict(zip(names, numbers, strict=True))
    return dict(zip(names, faces, strict=True)), subsets


def _load(path: Path, keys: Sequence[str]) -> dict[str, NDArray]:
    try:
        from scipy.io import loadmat
    except ImportError as error:
        raise ImportError(
            'WIDERFaceMetric reads .mat files with the package scipy: '
            'pip install scipy'
        ) from error
    if not path.is_file():
        raise FileNotFoundError(
            f'{path}: no such file; the four ground-truth files come with '
            'the evaluation tools of http://shuoyang1213.me/WIDERFACE'
        )
    content = loadmat(str(path))
    for key in keys:
        if key not in content:
            raise ValueError(f'{path} must have {key!r}')
    return content


def _cells(events: NDArray) -> list[NDArray]:
    """The images' cells of all events' cells."""
    return [cell for event in events.ravel() for cell in event.ravel()]


def _same_length(path: Path, key: str, rows: list, names: list) -> None:
    if len(rows) != len(names):
        raise ValueError(
            f'{path}: {key} must have {len(names)} images, got {len(rows)}'
        )


def _array(values: Tensor) -> NDArray:
    return values.detach().cpu().double().numpy()
