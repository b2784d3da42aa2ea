"""Hooks that several methods share."""

from .hooks import *  # noqa: F403
