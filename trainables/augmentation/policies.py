"""Augmentation policies: the operation and magnitude of each image, drawn on the host for a whole batch.

The tables are torchvision's: names, magnitudes, signs and probabilities of AutoAugment's CIFAR-10 policy (arXiv
1805.09501), RandAugment (arXiv 1909.13719) and TrivialAugment's wide space (arXiv 2103.10158). NumPy draws from the
epoch's seed, so that every device augments the same and the host knows, without waiting, how many images each operation
gets.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt
import torch

from trainables.recipe import Recipe

OPERATIONS: Final = (
    "Identity",
    "ShearX",
    "ShearY",
    "TranslateX",
    "TranslateY",
    "Rotate",
    "Brightness",
    "Color",
    "Contrast",
    "Sharpness",
    "Posterize",
    "Solarize",
    "AutoContrast",
    "Equalize",
    "Invert",
    "Hue",
)
"""The operations by number. RandAugment and TrivialAugment draw from those before Invert, only colour jitter Hue."""
SIGNED: Final = frozenset(
    ("ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate", "Brightness", "Color", "Contrast", "Sharpness")
)
"""Operations whose magnitude is negated with probability 1/2."""

LEVELS: Final = {"autoaugment": 10, "randaugment": 31, "trivialaugment": 31}
"""Number of magnitudes per operation, from the weakest to the strongest."""

SubPolicy = tuple[tuple[str, float, int | None], tuple[str, float, int | None]]
"""Two operations, one after the other: name, probability, and level if the operation has a magnitude."""
CIFAR10_POLICY: Final[tuple[SubPolicy, ...]] = (
    (("Invert", 0.1, None), ("Contrast", 0.2, 6)),
    (("Rotate", 0.7, 2), ("TranslateX", 0.3, 9)),
    (("Sharpness", 0.8, 1), ("Sharpness", 0.9, 3)),
    (("ShearY", 0.5, 8), ("TranslateY", 0.7, 9)),
    (("AutoContrast", 0.5, None), ("Equalize", 0.9, None)),
    (("ShearY", 0.2, 7), ("Posterize", 0.3, 7)),
    (("Color", 0.4, 3), ("Brightness", 0.6, 7)),
    (("Sharpness", 0.3, 9), ("Brightness", 0.7, 9)),
    (("Equalize", 0.6, None), ("Equalize", 0.5, None)),
    (("Contrast", 0.6, 7), ("Sharpness", 0.6, 5)),
    (("Color", 0.7, 7), ("TranslateX", 0.5, 8)),
    (("Equalize", 0.3, None), ("AutoContrast", 0.4, None)),
    (("TranslateY", 0.4, 3), ("Sharpness", 0.2, 6)),
    (("Brightness", 0.9, 6), ("Color", 0.2, 8)),
    (("Solarize", 0.5, 2), ("Invert", 0.0, None)),
    (("Equalize", 0.2, None), ("AutoContrast", 0.6, None)),
    (("Equalize", 0.2, None), ("Equalize", 0.6, None)),
    (("Color", 0.9, 9), ("Equalize", 0.6, None)),
    (("AutoContrast", 0.8, None), ("Solarize", 0.2, 8)),
    (("Brightness", 0.1, 3), ("Color", 0.7, 0)),
    (("Solarize", 0.4, 5), ("AutoContrast", 0.9, None)),
    (("TranslateY", 0.9, 9), ("TranslateY", 0.7, 9)),
    (("AutoContrast", 0.9, None), ("Solarize", 0.8, 3)),
    (("Equalize", 0.8, None), ("Invert", 0.1, None)),
    (("TranslateY", 0.7, 9), ("AutoContrast", 0.9, None)),
)
"""The policy that AutoAugment found on CIFAR-10."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """One operation for each image of a batch."""

    operations: npt.NDArray[np.int64]
    """Numbers of the operations in `OPERATIONS`, (B,)."""
    magnitudes: npt.NDArray[np.float64]
    """Their signed magnitudes, (B,), in torchvision's units; 0 for an operation without a magnitude."""


@lru_cache(maxsize=64)
def magnitudes(policy: str, height: int, width: int) -> npt.NDArray[np.float64]:
    """Magnitude of each operation at each level on images of `height` x `width` pixels, (operations, levels).

    Shears are in units of a side, translations in pixels, rotations in degrees, blends are the distance of the factor
    from 1, posterize is in bits and solarize is the threshold. TrivialAugment's translations are at most 32 pixels,
    whatever the size.
    """
    levels, wide = LEVELS[policy], policy == "trivialaugment"
    blend, shear, turn = (0.99, 0.99, 135.0) if wide else (0.9, 0.3, 30.0)
    across, down = (32.0, 32.0) if wide else (150 / 331 * width, 150 / 331 * height)
    ends = {"ShearX": shear, "ShearY": shear, "TranslateX": across, "TranslateY": down, "Rotate": turn}
    ends |= dict.fromkeys(("Brightness", "Color", "Contrast", "Sharpness"), blend)
    table = np.zeros((len(OPERATIONS), levels))
    for name, end in ends.items():
        table[OPERATIONS.index(name)] = torch.linspace(0.0, end, levels).numpy()  # float32, as torchvision's
    bits = np.arange(levels, dtype=np.float32) / np.float32((levels - 1) / (6 if wide else 4))
    table[OPERATIONS.index("Posterize")] = 8 - np.round(bits)
    table[OPERATIONS.index("Solarize")] = torch.linspace(255.0, 0.0, levels).numpy()
    table.flags.writeable = False
    return table


def draw_policy(recipe: Recipe, batch: int, height: int, width: int, draw: np.random.Generator) -> list[Drawn]:
    """The operations of a batch of `height` x `width` images, in turn; none, and no draw, without a policy."""
    if recipe.policy == "none":
        return []
    table = magnitudes(recipe.policy, height, width)
    if recipe.policy == "autoaugment":
        chosen = draw.integers(len(CIFAR10_POLICY), size=batch)
        operations, levels = _CIFAR10_OPERATIONS[chosen], _CIFAR10_LEVELS[chosen]
        probabilities = _CIFAR10_PROBABILITIES[chosen]
        return [_drawn(operations[:, i], probabilities[:, i], levels[:, i], table, draw) for i in (0, 1)]
    drawn = []
    for _ in range(recipe.policy_operations if recipe.policy == "randaugment" else 1):
        operations = draw.integers(OPERATIONS.index("Invert"), size=batch)
        levels = np.full(batch, recipe.policy_magnitude)
        if recipe.policy == "trivialaugment":
            levels = draw.integers(LEVELS[recipe.policy], size=batch)
        drawn.append(_drawn(operations, np.ones(batch), levels, table, draw))
    return drawn


def _drawn(
    operations: npt.NDArray[np.int64],
    probabilities: npt.NDArray[np.float64],
    levels: npt.NDArray[np.int64],
    table: npt.NDArray[np.float64],
    draw: np.random.Generator,
) -> Drawn:
    happens = draw.random(len(operations)) < probabilities
    negative = (draw.random(len(operations)) < 0.5) & _SIGNED[operations]
    found = table[operations, levels] * np.where(negative, -1.0, 1.0)
    return Drawn(np.where(happens, operations, 0), np.where(happens, found, 0.0))


_SIGNED = np.array([name in SIGNED for name in OPERATIONS])
_CIFAR10_OPERATIONS = np.array([[OPERATIONS.index(name) for name, _, _ in pair] for pair in CIFAR10_POLICY])
_CIFAR10_PROBABILITIES = np.array([[probability for _, probability, _ in pair] for pair in CIFAR10_POLICY])
_CIFAR10_LEVELS = np.array([[level or 0 for _, _, level in pair] for pair in CIFAR10_POLICY])
