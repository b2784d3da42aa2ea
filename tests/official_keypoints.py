"""Detections of keypoint detectors as their official codes compute them.

Formulas are written out here in double precision, one box at a time; nothing
is imported from the package but what runs a config. Official result files hold
x, y, width and height, rounded to hundredths, and are compared before that.
"""

import math

import numpy as np
import torch
from helpers import read_config
from mmcv.transforms import Compose
from mmdet.models.detectors import SingleStageDetector
from mmdet.models.detectors.base import BaseDetector
from mmdet.registry import MODELS
from mmengine.dataset import pseudo_collate
from official_boxes import as_written
from torch import nn

from mmdet_assigners.utils import resolve_config

HEIGHT, WIDTH = 128, 119  # of the image, in pixels
SCALES = (0.5, 0.75, 1.0, 1.25, 1.5)  # of the multi-scale tests
BUSY = (0, 7, 31, 79)  # the classes that have peaks
# of scores after mmcv's soft-NMS, which moves classes apart in float32
NMS_ERROR = 1e-3


class Maps(nn.Module):
    """Stands for a branch of a head: random maps, others at each call.

    Args:
        channels: Number of channels.
        seed: Of the random numbers.
        low: Smallest value; with ``high``, uniform values.
        high: Largest value. By default logits, low but for a few classes.
        mean: Of the logits of these classes.
    """

    def __init__(self, channels, seed, low=None, high=None, mean=-0.5):
        super().__init__()
        self.channels = channels
        self.seed = seed
        self.bounds = low, high
        self.mean = mean
        self.calls = 0

    def of_call(self, call, width, height):
        """Maps (2, C, H, W) of an image and of its mirror image."""
        rng = np.random.default_rng((self.seed, call))
        shape = 2, self.channels, height, width
        low, high = self.bounds
        if low is None:
            maps = rng.normal(self.mean, 1.5, shape)
            quiet = np.isin(np.arange(self.channels), BUSY, invert=True)
            maps[:, quiet] -= 8
        else:
            maps = rng.uniform(low, high, shape)
        return maps.astype(np.float32)

    def forward(self, x):
        height, width = x.shape[-2:]
        maps = self.of_call(self.calls, width, height)
        self.calls += 1
        return torch.from_numpy(maps)[: len(x)]


class Detector(SingleStageDetector):
    """The preprocessing and the head of a config, without its network.

    Args:
        cfg: The config.
        head: Its head, with ``Maps`` for branches.
        features: In place of those of the network, a ``Maps``.
    """

    def __init__(self, cfg, head, features):
        BaseDetector.__init__(self, cfg.model.data_preprocessor)
        self.bbox_head = head
        self.features = features

    def extract_feat(self, batch_inputs):
        return [self.features(batch_inputs[..., ::4, ::4])]


def build_head(config):
    """The config and its head."""
    cfg = read_config(resolve_config(config))
    head = dict(cfg.model.bbox_head, test_cfg=cfg.model.get('test_cfg'))
    return cfg, MODELS.build(head).eval()


def packed(steps, image):
    """A batch of one image by a pipeline, without the reading of a file."""
    data = dict(
        img=image,
        img_id=0,
        img_path='',
        img_shape=image.shape[:2],
        ori_shape=image.shape[:2],
        instances=[],
    )
    return pseudo_collate([Compose(steps[1:])(data)])


def detections(cfg, head, tta=False, features=None):
    """What our test of a config finds in an image.

    Args:
        cfg: The config.
        head: Its head, with ``Maps`` for branches.
        tta: With the config's test-time augmentation.
        features: See ``Detector``.

    Returns:
        list: x, y, width, height, score and label.
    """
    detector = Detector(cfg, head, features or Maps(1, 0, 0, 1)).eval()
    model = detector
    steps = cfg.test_dataloader.dataset.pipeline
    if tta:
        steps = cfg.tta_pipeline
        model = MODELS.build(dict(cfg.tta_model, module=detector))
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    with torch.no_grad():
        (sample,) = model.test_step(packed(steps, image))
    found = sample.pred_instances.numpy()
    columns = zip(
        as_written(sample.pred_instances.bboxes),
        found.scores,
        found.labels,
        strict=True,
    )
    return [(*box, float(score), int(k)) for box, score, k in columns]


def assert_input(cfg, canvas):
    """The input of the network is the official one: zeros around the image.

    Args:
        cfg: A config.
        canvas: The input of an image that is not resized.
    """
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    preprocessor = MODELS.build(cfg.model.data_preprocessor)
    data = packed(cfg.test_dataloader.dataset.pipeline, image)
    (ours,) = preprocessor(data)['inputs'].numpy()
    width, height = canvas.pixels
    left, top = width // 2 - WIDTH // 2, height // 2 - HEIGHT // 2
    theirs = np.zeros((height, width, 3))
    theirs[top : top + HEIGHT, left : left + WIDTH] = image / 255
    theirs -= [0.40789654, 0.44719302, 0.47026115]  # blue first
    theirs /= [0.28863828, 0.27408164, 0.27809835]
    np.testing.assert_allclose(ours, theirs.transpose(2, 0, 1), atol=1e-5)


def official_file(found):
    """Rows of an official result file from x1, y1, x2, y2, score, label."""
    return [(x1, y1, x2 - x1, y2 - y1, *r[:2]) for x1, y1, x2, y2, *r in found]


def assert_same(ours, theirs, scores=1e-5, least=50):
    """Boxes agree to a thousandth of a pixel, scores to a number.

    Args:
        ours: x, y, width, height, score and label of our boxes.
        theirs: The same of the official ones.
        scores: Largest difference of scores.
        least: Fewer boxes prove nothing.
    """
    assert len(ours) == len(theirs) >= least
    ours, theirs = (
        np.array(sorted(rows, key=lambda r: (r[5], *np.round(r[:4], 2))))
        for rows in (ours, theirs)
    )
    np.testing.assert_array_equal(ours[:, 5], theirs[:, 5])
    np.testing.assert_allclose(ours[:, :4], theirs[:, :4], rtol=0, atol=1e-3)
    np.testing.assert_allclose(ours[:, 4], theirs[:, 4], rtol=0, atol=scores)


def sigmoid(logits):
    return 1 / (1 + np.exp(-logits.astype(np.float64)))


def is_peak(heat, y, x):
    """Whether no cell around y, x of a map (H, W) is higher."""
    return (
        heat[y, x] == heat[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2].max()
    )


def best_peaks(heat, k):
    """The k highest peaks of heat maps (C, H, W): score, class, y, x."""
    found = []
    for place in np.argsort(-heat, axis=None):
        c, y, x = map(int, np.unravel_index(place, heat.shape))
        if is_peak(heat[c], y, x):
            found.append((float(heat[c, y, x]), c, y, x))
        if len(found) == k:
            break
    return found


class Canvas:
    """An image of a scale in the input of the network, and its map.

    Args:
        scale: Of the image.
        pad: Sides get these bits, as 31, and a pixel.
        odd: Sides do not get that pixel, and places are clipped to the image,
            as in CornerNet and ExtremeNet.
        square: The side of an input that does not depend on the image.
    """

    def __init__(self, scale=1.0, pad=31, odd=False, square=None):
        self.resized = [int(side * scale) for side in (WIDTH, HEIGHT)]
        self.scale = scale
        self.odd = odd
        self.square = square
        self.pixels = [(side | pad) + (not odd) for side in self.resized]
        if square:
            self.pixels = [square, square]
        self.cells = [(side + odd) // 4 for side in self.pixels]

    def to_image(self, x, y):
        """A place on the map in pixels of the original image."""
        found = []
        for axis, place in enumerate((x, y)):
            cells, pixels = self.cells[axis], self.pixels[axis]
            resized = self.resized[axis]
            if self.odd:
                border = pixels // 2 - resized // 2
                place = place / (cells / pixels) - border
                place = min(max(place, 0.0), float(resized))
            elif self.square:
                longer = max(WIDTH, HEIGHT)
                place = (place - cells / 2) * longer / cells + resized / 2
            else:
                place = (place - cells / 2) * pixels / cells + resized // 2
            found.append(place / self.scale)
        return found


def soft_nms(found, sigma=0.5, floor=0.001):
    """Gaussian soft-NMS over boxes of one class, with inclusive sides.

    Args:
        found: x1, y1, x2, y2, score, label, and more.
        sigma: Width of the Gaussian.
        floor: Boxes whose score falls below it are removed.
    """
    rest, kept = list(found), []
    while rest:
        best = max(rest, key=lambda row: row[4])
        rest.remove(best)
        kept.append(best)
        lower = []
        for row in rest:
            iou = inclusive_iou(best, row)
            score = row[4] * math.exp(-(iou**2) / sigma)
            if iou == 0 or score >= floor:
                lower.append((*row[:4], score, *row[5:]))
        rest = lower
    return kept


def inclusive_iou(a, b):
    width = min(a[2], b[2]) - max(a[0], b[0]) + 1
    height = min(a[3], b[3]) - max(a[1], b[1]) + 1
    if width <= 0 or height <= 0:
        return 0.0
    areas = [(r[2] - r[0] + 1) * (r[3] - r[1] + 1) for r in (a, b)]
    return width * height / (sum(areas) - width * height)


def of_classes(found, function):
    """Apply a function to the rows of each class."""
    return [
        row
        for label in sorted({row[5] for row in found})
        for row in function([row for row in found if row[5] == label])
    ]


def best_of(found, limit=100):
    """The rows whose scores reach the 100th; it must be a clear one."""
    scores = sorted((row[4] for row in found), reverse=True)
    if len(scores) > limit:
        assert scores[limit - 1] - scores[limit] > 1e-4
        found = [row for row in found if row[4] >= scores[limit - 1]]
    return found


def center_boxes(canvas, heat, size_of, offsets, flip):
    """The test of CenterNet at one scale.

    Args:
        canvas: The input.
        heat: Logits (2, C, H, W) of an image and of its mirror image.
        size_of: Number of the image, y, x -> width and height in cells.
        offsets: (2, 2, H, W) x, y in cells.
        flip: Average with the mirror image, but for the offsets.

    Returns:
        list: x1, y1, x2, y2, score and label of 100 boxes.
    """
    heat = sigmoid(heat)
    heat = (heat[0] + heat[1][..., ::-1]) / 2 if flip else heat[0]
    found = []
    for score, label, y, x in best_peaks(heat, 100):
        width, height = size_of(0, y, x)
        if flip:
            others = size_of(1, y, heat.shape[-1] - 1 - x)
            width, height = (width + others[0]) / 2, (height + others[1]) / 2
        center_x = x + float(offsets[0, 0, y, x])
        center_y = y + float(offsets[0, 1, y, x])
        x1, y1 = canvas.to_image(center_x - width / 2, center_y - height / 2)
        x2, y2 = canvas.to_image(center_x + width / 2, center_y + height / 2)
        found.append((x1, y1, x2, y2, score, label))
    return found
