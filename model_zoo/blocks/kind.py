"""What the file of a kind of block has to say: its convolutions, its torch module, and the widths it allows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from model_zoo.blocks.form import PLAIN, Form

if TYPE_CHECKING:
    from torch import nn

Ints = Any
"""An int, or a NumPy array of int64 with one element per layout: the same arithmetic counts one or millions."""

FEWEST_STRIDED: Final = 16
"""Fewest input channels of a strided 1x1 convolution; narrower skips take every other pixel first.

Below, its backward on a CPU writes outside its memory when the input is channels-last (oneDNN#6035, present in torch
2.15: under 8 channels with AVX2, under 16 with AVX-512).
"""


class Convolution(NamedTuple):
    """A convolution on the residual path of a block, and what follows it."""

    c_in: Ints
    """Input channels."""
    c_out: Ints
    """Output channels."""
    kernel: Ints
    """Side of its kernel."""
    groups: int = 1
    """Its groups."""
    depthwise: bool = False
    """Whether it has a group for each input channel; then `groups` is not read."""
    before_stride: bool = False
    """Whether its output is as large as the block's input, because a later convolution has the stride."""
    norm: bool = True
    """Whether a BatchNorm follows, before or after the block's addition."""
    activated: bool = True
    """Whether an activation follows, before or after the block's addition."""

    @property
    def fan_in(self) -> Ints:
        """Weights of each output channel."""
        if self.depthwise:
            return self.kernel**2
        return (self.c_in if self.groups == 1 else self.c_in // self.groups) * self.kernel**2

    @property
    def weights(self) -> Ints:
        """Its weights, without a bias."""
        return self.fan_in * self.c_out

    def params(self, bias: Ints) -> Ints:
        """Its parameters and those of its norm; `bias` is 1 where convolutions have one, else 0."""
        return (self.fan_in + (bias + 2 * self.norm)) * self.c_out


class BlockShape(NamedTuple):
    """What a network asks of one of its blocks."""

    c_in: int
    """Input channels."""
    c_out: int
    """Output channels."""
    kernel: int
    """Side of the kxk kernels."""
    stride: int
    """1, or 2 where it halves the image."""
    form: Form
    """What is decided once for the whole network."""
    first: bool
    """Whether it is the network's first block, whose input has been through a norm and an activation."""


class BlockClass(Protocol):
    """The torch module of a kind: (N, c_in, H, W) -> (N, c_out, H/stride, W/stride)."""

    def __call__(self, shape: BlockShape, skip: nn.Module) -> nn.Module:
        """A block that adds the output of `skip`, unless that is none, to that of its residual path.

        The residual path ends with an identity called `drop`, which a recipe may replace by stochastic depth.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of block: its convolutions, its torch module and the widths it allows.

    All costs follow from the convolutions; `model_zoo.complexity` and `model_zoo.memory` add them up, together with
    squeeze, activation and skip, which are the same for all kinds and whose modules are in `model_zoo.blocks.parts`.
    """

    summary: str
    """The convolutions in a few words, for a list of the kinds."""
    convolutions: Callable[[Ints, Ints, Ints, Form], tuple[Convolution, ...]]
    """The convolutions of the residual path in order, given channels in and out, kernel and form.

    How many there are depends on none of these, and channels do not depend on the kernel.
    """
    block_class: Callable[[], BlockClass]
    """The torch module."""
    width_problem: Callable[[int, Form], str | None] = lambda width, form: None
    """Why a stage cannot have this many output channels, with the remedy; None when it can."""
    stem_problem: Callable[[int, Form], str | None] = lambda stem, form: None
    """Why the stem cannot have this many output channels, with the remedy; None when it can."""
    skip_norm: bool = True
    """Whether a BatchNorm follows the convolution of a skip."""
    last_norm: bool = False
    """Whether norm and activation of the last convolution come after the addition.

    They then open the next block, and the network has one more pair behind its last block.
    """
    projection: bool = True
    """Whether a convolution is the skip of a block that changes the shape; otherwise such a block has no skip."""
    expansion: int = 0
    """The kind's own ratio of the wide to the narrow channels inside a block; 0 for a kind that has none."""
    grouped: bool = True
    """Whether the kxk convolutions may have groups; those that are depthwise may not."""

    @property
    def unread(self) -> tuple[str, ...]:
        """The fields of a form that the kind does not read."""
        of_skip = () if self.projection else ("skip_kernel", "skip_pool")
        return of_skip + ("groups",) * (not self.grouped) + ("expansion",) * (not self.expansion)

    @property
    def layers(self) -> int:
        """Weighted layers on the longest path through a block."""
        return len(self.convolutions(1, 1, 1, PLAIN._replace(expansion=1)))

    def is_wide(self, form: Form) -> bool:
        """Whether a block that keeps its width is wider inside; inner widths scale with it, so one width tells."""
        width = 2**10
        return any(conv.c_out > width for conv in self.convolutions(width, width, 1, form))


def undivided(form: Form, channels: int, words: str) -> str | None:
    """The problem of groups that do not divide `channels`, which the message calls `words`; None when they do."""
    if channels % form.groups == 0:
        return None
    return f"groups: {form.groups} does not divide the {words}; use a divisor"
