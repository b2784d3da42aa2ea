"""Detections whose errors are Gaussian, of known standard deviation."""

import numpy as np

from mmdet_assigners.analysis.uncertainty import Detections, match

BOX = np.array([[40.0, 60, 140, 110]])


def detections(count, factor=1.0, seed=0):
    """Detections of one box whose errors are ``factor`` times as wide."""
    generator = np.random.default_rng(1)
    sigma = np.exp(generator.uniform(-1, 1.5, size=(count, 1))) * np.ones(4)
    noise = np.random.default_rng(seed).normal(size=sigma.shape) * sigma
    return Detections(
        BOX + noise * factor,
        sigma,
        np.full(count, 0.9),
        np.zeros(count, dtype=int),
    )


def errors(factor=1.0, count=5000, **options):
    """Matched detections, see `detections`."""
    labels = np.zeros(1, dtype=int)
    return match(detections(count, factor), BOX, labels, **options)
