"""The measurement on the test set; no other code opens it."""

from __future__ import annotations

from pathlib import Path

import torch

from search.evaluation.kept_network import load_kept, require_same_images
from trainables.data.test_set import load_test_set
from trainables.devices import pick_device
from trainables.training import evaluate


def measure(checkpoint: Path, trial: int, data: dict[str, object], flip: bool = False) -> tuple[float, float, int]:
    """Test accuracy in [0, 1], mean cross-entropy in nats, and the epoch of the weights, of the `trial`'s checkpoint.

    With `flip` each image is judged together with its mirror image.

    Raises:
        SearchError: the images have changed since the trial was trained.
        CheckpointError: the checkpoint is damaged.
        DatasetError: the data set cannot be loaded.
    """
    device = pick_device()
    kept = load_kept(checkpoint, device)
    test = load_test_set(data["name"], data["data_dir"], image_size=data["image_size"])  # type: ignore[arg-type]
    require_same_images(kept, trial, test.name, test.train_sha256)
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
