"""Compares early stopping strategies by replaying them on measured learning curves."""
