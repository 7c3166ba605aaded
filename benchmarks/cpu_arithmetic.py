"""How much faster is bfloat16 than float32 in our training loop, on one thread of this CPU?

Usage: python -m benchmarks.cpu_arithmetic [PAIRS]

Trains the first student project's ResNet-12 (195,738 parameters) on noise in CIFAR-10's shape, in batches of 128, with
the default augmentation. The two alternate; a pair is one short epoch in each arithmetic, and the ratio is the median
over the pairs. The last line is one JSON object.
"""

from __future__ import annotations

import json
import statistics
import sys
from typing import Literal

import numpy as np
import torch

from model_zoo import PRESETS
from trainables.data import TrainingSet
from trainables.recipe import Recipe
from trainables.training import Trainer

IMAGES = 128 * 8


def noise() -> TrainingSet:
    """Images of noise, since the speed does not depend on what they show."""
    draw = np.random.default_rng(0)
    return TrainingSet(
        name="noise",
        images=draw.integers(0, 256, (IMAGES + 64, 32, 32, 3), dtype=np.uint8),
        labels=draw.integers(0, 10, IMAGES + 64),
        train_indices=np.arange(IMAGES),
        val_indices=np.arange(IMAGES, IMAGES + 64),
        mean=(0.5, 0.5, 0.5),
        std=(0.25, 0.25, 0.25),
        classes=10,
        class_names=tuple(map(str, range(10))),
        sha256="noise",
    )


def main(pairs: int) -> dict[str, object]:
    """Measures `pairs` alternating pairs and returns the figures."""
    torch.set_num_threads(1)
    data = noise()
    precisions: tuple[Literal["float32", "bfloat16"], ...] = ("float32", "bfloat16")
    trainers = {
        name: Trainer(PRESETS["arora-resnet12"], Recipe(precision=name), data, torch.device("cpu"), epochs=pairs + 1)
        for name in precisions
    }
    rates: dict[str, list[float]] = {name: [] for name in precisions}
    for pair in range(pairs + 1):
        for name, trainer in trainers.items():
            rate = IMAGES / trainer.train_epoch().train_time_s
            if pair:  # the first warms up the caches of oneDNN's kernels
                rates[name].append(rate)
    return {
        "pairs": pairs,
        **{f"{name}_images_per_s": round(statistics.median(found), 1) for name, found in rates.items()},
        "ratio": round(statistics.median(b / a for a, b in zip(rates["float32"], rates["bfloat16"], strict=True)), 3),
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)) + "\n")
