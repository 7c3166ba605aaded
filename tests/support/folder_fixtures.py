"""Image folders for tests: noise in class folders, and loading with what was said meanwhile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from trainables.data import TrainingSet, dataset_info, load_training_set
from trainables.data.counts import counts_line
from trainables.data.test_set import load_test_set

AB = ("a", "b")
FLAT = (16, 4)
"""Training and test images of 20 without a test part."""
DRAW = np.random.default_rng(0)


def images(folder: Path, count: int, suffix: str = ".png") -> None:
    """Write `count` images of noise into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        picture = Image.fromarray(DRAW.integers(0, 256, (12, 10, 3), dtype=np.uint8))
        picture.save(folder / f"{i:03}{suffix}", format="JPEG" if suffix.startswith(".j") else "PNG")


def tree(root: Path, *parts: str | tuple[str, int]) -> None:
    """Write 10 images into each folder of `parts`, or as many as are given with it."""
    for part in parts:
        name, count = part if isinstance(part, tuple) else (part, 10)
        images(root / name, count)


def load(folder: Path, cache: Path, **options: Any) -> tuple[TrainingSet, Any, list[str]]:
    """The training set, the test set, and what was said, the line of counts first."""
    said: list[str] = []
    data = load_training_set(str(folder), cache, on_message=said.append, **options)
    said.insert(0, counts_line(dataset_info(str(folder), data_dir=cache)))
    assert all(message.isprintable() for message in said)
    return data, load_test_set(str(folder), cache, **options), said
