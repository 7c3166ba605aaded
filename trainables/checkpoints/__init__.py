"""Checkpoints: their files, their size before they are written, and the identity of a training."""
