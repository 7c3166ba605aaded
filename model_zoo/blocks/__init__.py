"""The kinds of blocks, one file each: what a block is made of, what it costs, and its torch module, which it imports late."""

from __future__ import annotations

from typing import Final

from model_zoo.blocks import basic, bottleneck, preactivation
from model_zoo.blocks.form import ACTIVATIONS, DEFAULT_KIND, PLAIN, BlockForm
from model_zoo.blocks.kind import FEWEST_STRIDED, Convolution, Ints, Kind

__all__ = [
    "ACTIVATIONS",
    "DEFAULT_KIND",
    "FEWEST_STRIDED",
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
"""The kinds by the name that a layout gives them, in the order of a space's choices: append, so that numbers stay."""
