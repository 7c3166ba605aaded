"""The kinds of blocks, one file each, and the table of them."""

from __future__ import annotations

from typing import Final

from model_zoo.blocks import basic, bottleneck, preactivation
from model_zoo.blocks.form import ACTIVATIONS, DEFAULT_KIND, IN_PLACE, PLAIN, BlockForm
from model_zoo.blocks.kind import FEWEST_STRIDED, Convolution, Ints, Kind

__all__ = [
    "ACTIVATIONS",
    "DEFAULT_KIND",
    "FEWEST_STRIDED",
    "IN_PLACE",
    "KINDS",
    "PLAIN",
    "BlockForm",
    "Convolution",
    "Ints",
    "Kind",
]

KINDS: Final[dict[str, Kind]] = {
    "basic": basic.KIND,
    "preactivation": preactivation.KIND,
    "bottleneck": bottleneck.KIND,
}
"""The kinds by name. Spaces list them in this order; append new ones, so that the numbers of layouts stay."""
