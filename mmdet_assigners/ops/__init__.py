"""Tensor functions that several methods share, and public operators."""
