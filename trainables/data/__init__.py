"""Data sets: prepared once, verified, split and mapped from disk; the test set has its own module."""

from trainables.data.datasets import TrainingSet, dataset_info, load_training_set

__all__ = ["TrainingSet", "dataset_info", "load_training_set"]
