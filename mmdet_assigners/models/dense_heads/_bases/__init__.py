"""Seams that the heads of several methods share."""
