"""Checks of the environment, of configs and of checkpoints."""
