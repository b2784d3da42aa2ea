"""Analysis of detectors: label assignment, recall, uncertainty.

Plain functions, for scripts and notebooks; the commands ``viz`` and ``table``
print and draw their results. Each takes a detector, built from a config, and
images of a COCO-format dataset::

    from mmdet_assigners.analysis import load_detector, read_images
    from mmdet_assigners.datasets.roots import resolve_data

    val = resolve_data('shapes').val

Assignment: which priors each object gets, see :mod:`.assignment` for one image
and :mod:`.statistics` for a dataset::

    from mmdet_assigners.analysis import assignment

    detector = load_detector('mmdet::atss/atss_r50_fpn_1x_coco', num_classes=8)
    for found in assignment.collect(detector, read_images(val, limit=2)):
        print(found.headline(), found.counts())  # (G, L)

Recall: how many objects get any prior, see :mod:`.recall`::

    from mmdet_assigners.analysis import recall

    detector = load_detector('mmdet::fcos/...', num_classes=8)
    counts = recall.count(detector, val, limit=10)
    print(counts.recalled / counts.objects, counts.ambiguous / counts.positive)

Uncertainty: predicted standard deviations against errors, see
:mod:`.uncertainty`::

    from mmdet_assigners.analysis import uncertainty

    detector = load_detector(
        'gfl-ablation_r50_fpn_1x_coco', 'gfl.pth', num_classes=8, mini=True
    )
    errors = uncertainty.collect(detector, read_images(val))
    print(uncertainty.summarize(errors)[-1].ratio)  # 1 is calibrated
"""

from .detectors import Detector, load_detector
from .images import find_image, read_images
