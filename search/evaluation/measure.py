"""The measurement on the test set; no other code opens it."""

from __future__ import annotations

from pathlib import Path

import torch

from search.errors import SearchError
from search.evaluation.kept_network import load_kept, require_same_images
from trainables.data.test_set import load_test_set
from trainables.devices import pick_device
from trainables.training import evaluate


def measure(
    checkpoint: Path, trial: int, data: dict[str, object], flip: bool = False, test_sha256: str | None = None
) -> tuple[float, float, int]:
    """Test accuracy in [0, 1], mean cross-entropy in nats, and epoch of the weights, for the checkpoint of `trial`.

    With `flip` the outputs are averaged over each image and its mirror image. `test_sha256` is the `TestSet.sha256` at
    the start of the run, None if the run did not store it.

    Raises:
        SearchError: the training or test images have changed since the run was started.
        CheckpointError: the checkpoint is damaged.
        DatasetError: the data set cannot be loaded.
    """
    device = pick_device()
    kept = load_kept(checkpoint, device)
    test = load_test_set(data["name"], data["data_dir"], image_size=data["image_size"])  # type: ignore[arg-type]
    require_same_images(kept, trial, test.name, test.train_sha256)
    if test_sha256 not in (None, test.sha256):
        raise SearchError(
            f"dataset: the test images of {test.name} have changed since the run was started; restore them"
        )
    accuracy, loss = evaluate(
        kept.network,
        torch.from_numpy(test.images).to(device),
        torch.from_numpy(test.labels).to(device),
        torch.arange(len(test.labels), device=device),
        torch.tensor(test.mean, device=device),
        torch.tensor(test.std, device=device),
        kept.precision,
        flip,
    )
    return accuracy, loss, kept.epoch
