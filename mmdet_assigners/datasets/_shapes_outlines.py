"""Outlines of the classes of the generated dataset, in unit coordinates."""

from collections.abc import Callable

import numpy as np

Contours = list[np.ndarray]
_TURN = 2 * np.pi
# in pixels; thinner bars and rings would vanish
_MIN_THICKNESS = 4.0


def _arc(start: float, stop: float, radius: float = 1.0) -> np.ndarray:
    angles = np.linspace(start, stop, 64)
    return radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _regular(corners: int) -> np.ndarray:
    angles = np.arange(corners) * _TURN / corners
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _thickness(
    rng: np.random.Generator, low: float, high: float, radius: float
) -> float:
    return max(rng.uniform(low, high), _MIN_THICKNESS / radius)


def _disc(rng: np.random.Generator, radius: float) -> Contours:
    return [_arc(0, _TURN)]


def _square(rng: np.random.Generator, radius: float) -> Contours:
    return [_regular(4)]


def _triangle(rng: np.random.Generator, radius: float) -> Contours:
    return [_regular(3)]


def _bar(rng: np.random.Generator, radius: float) -> Contours:
    half = _thickness(rng, 0.2, 0.4, radius) / 2
    return [np.array([[-1, -half], [1, -half], [1, half], [-1, half]])]


def _ring(rng: np.random.Generator, radius: float) -> Contours:
    hole = max(1 - _thickness(rng, 0.25, 0.45, radius), 0.2)
    return [_arc(0, _TURN), _arc(0, _TURN, hole)]


def _star(rng: np.random.Generator, radius: float) -> Contours:
    points = _regular(10)
    points[1::2] *= rng.uniform(0.38, 0.5)
    return [points]


def _cross(rng: np.random.Generator, radius: float) -> Contours:
    a = _thickness(rng, 0.45, 0.7, radius) / 2
    b = np.sqrt(1 - a * a)  # the tips lie on the unit circle
    arm = np.array([[b, -a], [b, a], [a, a]])
    turn = np.array([[0, 1], [-1, 0]])
    return [
        np.concatenate(
            [arm @ np.linalg.matrix_power(turn, k) for k in range(4)]
        )
    ]


def _crescent(rng: np.random.Generator, radius: float) -> Contours:
    bite, shift = rng.uniform(0.7, 0.8), 0.5
    x = (1 - bite**2 + shift**2) / (2 * shift)
    outer = np.arccos(x)
    inner = np.arctan2(np.sin(outer), x - shift)
    back = _arc(_TURN - inner, inner, bite) + np.array([shift, 0])
    return [np.concatenate([_arc(outer, _TURN - outer), back])]


OUTLINES: dict[str, Callable[[np.random.Generator, float], Contours]] = {
    'disc': _disc,
    'square': _square,
    'triangle': _triangle,
    'bar': _bar,
    'ring': _ring,
    'star': _star,
    'cross': _cross,
    'crescent': _crescent,
}


def random_outline(
    rng: np.random.Generator, name: str, radius: float
) -> tuple[Contours, float]:
    """A random outline of a class: proportions, slant and rotation vary.

    Args:
        rng: Source of randomness.
        name: Class name, a key of `OUTLINES`.
        radius: Half of the longest diameter, in pixels.

    Returns:
        The contours, float arrays (K points, 2) of (x, y) in pixels around
        the origin, to be filled by the even-odd rule, and the rotation in
        radians.
    """
    contours = OUTLINES[name](rng, radius)
    angle = rng.uniform(0, _TURN)
    squeeze = np.diag([1, rng.uniform(0.75, 1)])
    cos, sin = np.cos(angle), np.sin(angle)
    matrix = radius * squeeze @ np.array([[cos, sin], [-sin, cos]])
    return [contour @ matrix for contour in contours], angle
