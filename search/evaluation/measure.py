"""The measurement on the test set; no other code opens it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from search.errors import SearchError
from search.evaluation.kept_network import load_kept, require_same_images
from trainables.data.test_set import load_test_set
from trainables.devices import pick_device
from trainables.evaluation import answers


@dataclass(frozen=True, slots=True)
class Measurement:
    """How a network answered for the test set."""

    epoch: int
    """The epoch of its weights."""
    test_accuracy: float
    """Share of the images classified correctly, in [0, 1]."""
    test_loss: float
    """Mean cross-entropy, nats."""
    classes: list[str]
    """Name of each label."""
    confusion: list[list[int]]
    """Images by true class (rows) and predicted class (columns)."""


def measure(
    checkpoint: Path, trial: int, data: dict[str, object], flip: bool = False, test_sha256: str | None = None
) -> Measurement:
    """The answers of the network in the checkpoint of `trial` for the test set.

    With `flip` the outputs are averaged over each image and its mirror image. `test_sha256` is the `TestSet.sha256` at
    the start of the run, None if the run did not store it.

    Raises:
        SearchError: the training or test images have changed since the run was started.
        CheckpointError: the checkpoint is damaged.
        DatasetError: the data set cannot be loaded.
    """
    device = pick_device()
    kept = load_kept(checkpoint, device)
    drawn: Any = {key: data[key] for key in ("name", "data_dir", "image_size", "test_share", "val_folder")}
    test = load_test_set(**drawn)
    require_same_images(kept, trial, test.name, test.train_sha256)
    if test_sha256 not in (None, test.sha256):
        raise SearchError(
            f"dataset: the test images of {test.name} have changed since the run was started; restore them"
        )
    given = answers(
        kept.network,
        torch.from_numpy(test.images).to(device),
        torch.from_numpy(test.labels).to(device),
        torch.arange(len(test.labels), device=device),
        torch.tensor(test.mean, device=device),
        torch.tensor(test.std, device=device),
        kept.precision,
        flip,
    )
    cells = given.labels * test.classes + given.predicted
    confusion = torch.bincount(cells, minlength=test.classes**2).reshape(test.classes, test.classes)
    return Measurement(kept.epoch, given.accuracy, given.loss, list(test.class_names), confusion.tolist())
