"""What all blocks of a network have in common: kind, groups, squeeze and activation, and which widths they allow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

BLOCKS: Final = ("basic", "preactivation", "bottleneck")
"""Kinds of blocks."""

ACTIVATIONS: Final = ("relu", "silu", "gelu")
"""Activations behind norms, in a squeeze and after a block's addition."""

EXPANSION: Final = 4
"""Output channels of a bottleneck for each of its inner ones, as in arXiv 1512.03385, table 1."""


class BlockForm(NamedTuple):
    """What all blocks of a network have in common."""

    block: str = "basic"
    """One of `BLOCKS`."""
    groups: int = 1
    """Groups of the kxk convolutions of its blocks."""
    squeeze: int = 0
    """Channels for each hidden unit of a squeeze-and-excitation; 0 for none."""
    activation: str = "relu"
    """One of `ACTIVATIONS`."""

    @property
    def layers(self) -> int:
        """Weighted layers on a block's longest path."""
        return 3 if self.block == "bottleneck" else 2

    def inner(self, width: Any) -> Any:
        """Channels of the kxk convolutions of a block of `width`, an int or a NumPy array of ints."""
        return width // EXPANSION if self.block == "bottleneck" else width

    def allows(self, width: int) -> bool:
        """Whether a stage may have `width` output channels."""
        return self.inner(width) >= 1 and self.inner(width) % self.groups == 0 and self.squeeze <= width

    def allows_stem(self, width: int) -> bool:
        """Whether the stem may have `width` output channels: those of kxk convolutions are divided by the groups."""
        return self.block == "bottleneck" or width % self.groups == 0

    def problems(self, stem: int, widths: Sequence[int]) -> list[str]:
        """What keeps a network with these output channels of stem and stages from being built, with its remedy."""
        found = []
        bottleneck = self.block == "bottleneck"
        for width in sorted({width for width in widths if not self.allows(width)}):
            if self.inner(width) < 1:
                found.append(f"channels: {width} given; a bottleneck needs at least {EXPANSION}")
            elif self.inner(width) % self.groups:
                of = f"inner width {self.inner(width)} of a bottleneck of {width}" if bottleneck else f"{width}"
                found.append(f"groups: {self.groups} does not divide the {of} channels; use a divisor")
            if self.squeeze > width:
                found.append(f"squeeze: {self.squeeze} exceeds the {width} channels of a stage; use at most so many")
        if not self.allows_stem(stem) and stem not in widths:
            found.append(f"groups: {self.groups} does not divide the {stem} channels of the stem; use a divisor")
        return found


PLAIN: Final = BlockForm()
"""BasicBlocks as in arXiv 1512.03385."""
