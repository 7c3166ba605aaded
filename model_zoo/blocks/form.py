"""What all blocks of a network have in common: kind, groups, squeeze and activation."""

from __future__ import annotations

from typing import Final, NamedTuple

DEFAULT_KIND: Final = "basic"
"""The kind of blocks where none is chosen."""

ACTIVATIONS: Final = ("relu", "silu", "gelu", "leaky-relu")
"""Activations behind norms, in a squeeze and after a block's addition. Spaces list them in this order."""

IN_PLACE: Final = ("relu", "leaky-relu")
"""Activations whose result takes the place of their input, since their backward reads the result."""


class BlockForm(NamedTuple):
    """What all blocks of a network have in common."""

    block: str = DEFAULT_KIND
    """The name of a kind in `model_zoo.blocks.KINDS`."""
    groups: int = 1
    """Groups of the kxk convolutions of its blocks."""
    squeeze: int = 0
    """Channels for each hidden unit of a squeeze-and-excitation; 0 for none."""
    activation: str = "relu"
    """One of `ACTIVATIONS`."""


PLAIN: Final = BlockForm()
"""Blocks of the default kind, without groups or squeeze, with ReLU."""
