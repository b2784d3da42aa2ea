"""HitDetector: its converter on weights of official shapes."""

from mmdet_assigners.conversion.state_dicts import check_state
from mmdet_assigners.methods.hit_detector.convert import convert, guess_config


def official():
    """A state dict as the official code writes it, spelled out by hand."""
    return {}  # TODO(new-method)


def test_fits_the_config():
    state = convert(official())
    check_state(state, guess_config(state))
