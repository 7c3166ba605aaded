"""What a network answers for images that are not augmented: the predicted classes, and how good they are."""

from __future__ import annotations

import base64
import zlib
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainables.augmentation.batch import normalise
from trainables.devices import autocast, heuristic_cudnn
from trainables.host_images import HostImages

EVAL_BATCH: Final = 512
"""Most images of an evaluation's batch."""


@dataclass(frozen=True, eq=False)
class Answers:
    """The answers of a network for N images, in their order."""

    predicted: Tensor
    """int64 (N,): the class with the largest logit, on the device of the images."""
    labels: Tensor
    """int64 (N,): the true classes."""
    loss: float
    """Mean cross-entropy, nats."""

    @property
    def accuracy(self) -> float:
        """Share of the images classified correctly, in [0, 1]."""
        return int((self.predicted == self.labels).sum()) / len(self.labels)

    def encoded(self) -> str:
        """Which images are classified correctly, as text: one bit per image, packed by NumPy, zlib, base 64."""
        correct = (self.predicted == self.labels).cpu().numpy()
        return base64.b64encode(zlib.compress(np.packbits(correct).tobytes(), 9)).decode("ascii")


def equal_batches(indices: Tensor) -> tuple[Tensor, ...]:
    """`indices` in the fewest batches of at most `EVAL_BATCH`, of sizes that differ by one at most.

    A short last batch would be another shape, for which a GPU's libraries prepare every layer again.
    """
    return indices.tensor_split(-(-len(indices) // EVAL_BATCH))


@torch.inference_mode()
def answers(
    network: nn.Module,
    images: Tensor | HostImages,
    labels: Tensor,
    indices: Tensor,
    mean: Tensor,
    std: Tensor,
    precision: torch.dtype,
    flip: bool = False,
) -> Answers:
    """The answers for uint8 `images` (N, H, W, C) at `indices`, not augmented.

    With `flip`, the logits are averaged over the image and its mirror image (test-time augmentation).
    """
    network.eval()
    total = torch.zeros((), device=images.device)  # read once at the end, so no batch waits
    predicted = []
    batches = equal_batches(indices)
    if isinstance(images, HostImages):
        images.begin(batches)
    with heuristic_cudnn():
        for index in batches:
            x, y = images[index], labels[index]
            with autocast(precision, images.device):
                logits = network(normalise(x, mean, std)).float()
                if flip:
                    logits = (logits + network(normalise(x.flip(2), mean, std)).float()) / 2
            predicted.append(logits.argmax(1))
            total += F.cross_entropy(logits, y, reduction="sum")
    return Answers(torch.cat(predicted), labels[indices], total.item() / len(indices))
