"""Checkpoints: their files, their size before they are written, and what tells one training from another."""
