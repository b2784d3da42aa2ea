"""Seams of the RoI heads."""
