"""Analysis of detectors: label assignment, recall, uncertainty.

Functions with plain arguments and results, for scripts and notebooks; the
commands ``viz`` and ``table`` draw and print their results. They take a
detector, built from a config, and images of a COCO-format dataset:

    >>> from mmdet_assigners.analysis import load_detector, read_images
    >>> from mmdet_assigners.datasets.roots import resolve_data
    >>> val = resolve_data('shapes').val
    >>> options = dict(num_classes=len(val.classes), mini=True)

Assignment: which priors each object gets. See :mod:`.assignment` for one
image, :mod:`.statistics` for a dataset.

    >>> from mmdet_assigners.analysis import assignment
    >>> detector = load_detector('mmdet::atss/atss_r50_fpn_1x_coco', **options)
    >>> for found in assignment.collect(detector, read_images(val, limit=2)):
    ...     print(found.headline(), found.counts().sum(0))  # by level
    63 positives on 8 of 8 objects [63  0  0  0  0]
    22 positives on 3 of 3 objects [13  9  0  0  0]

Recall: how many objects get a prior, and how many priors are ambiguous. See
:mod:`.recall` for heads, :mod:`.recall_rules` for rules on their own.

    >>> from mmdet_assigners.analysis import recall
    >>> detector = load_detector('mmdet::atss/atss_r50_fpn_1x_coco', **options)
    >>> counts = recall.count(detector, val, limit=10)
    >>> counts.recalled, counts.objects
    (73, 74)
    >>> round(counts.ambiguous / counts.positive, 3)
    0.071

Uncertainty: predicted standard deviations of the sides of boxes against their
errors. See :mod:`.uncertainty`.

    >>> from mmdet_assigners.analysis import uncertainty
    >>> name = 'gfl-ablation_r50_fpn_1x_coco'
    >>> detector = load_detector(name, 'gfl.pth', **options)
    >>> errors = uncertainty.collect(detector, read_images(val, limit=10))
    >>> ratio = uncertainty.summarize(errors)[-1].ratio  # 1 is calibrated
"""

from .detectors import Detector, load_detector
from .images import find_image, read_images
