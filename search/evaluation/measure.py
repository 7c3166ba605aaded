"""The measurement on the test set; no other code opens it."""

from __future__ import annotations

from pathlib import Path

import torch

from search.evaluation.kept_network import load_kept
from trainables.data.test_set import load_test_set
from trainables.devices import pick_device
from trainables.training import evaluate


def measure(checkpoint: Path, data: dict[str, object], flip: bool = False) -> tuple[float, float, int]:
    """Test accuracy in [0, 1], mean cross-entropy in nats, and the epoch of the weights, of a checkpoint's network.

    With `flip` each image is judged together with its mirror image.

    Raises:
        CheckpointError: the checkpoint is damaged.
        DatasetError: the data set cannot be loaded.
    """
    device = pick_device()
    kept = load_kept(checkpoint, device)
    test = load_test_set(data["name"], data["data_dir"], image_size=data["image_size"])  # type: ignore[arg-type]
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
