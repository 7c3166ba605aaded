"""What a kind of block says about itself: its convolutions, from which its costs follow, and its torch module."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from model_zoo.blocks.form import PLAIN, BlockForm

if TYPE_CHECKING:
    from torch import nn

Ints = Any
"""An int, or a NumPy array of int64; arithmetic on it holds for both, so that millions of layouts are counted at once."""

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
    groups: Ints = 1
    """Its groups; as many as input channels where it is depthwise."""
    before_stride: bool = False
    """Whether a later convolution has the block's stride, so that this one's output is as large as the block's input."""
    norm: bool = True
    """Whether a BatchNorm follows, before or behind the block's addition."""
    activated: bool = True
    """Whether an activation follows, before or behind the block's addition."""

    @property
    def weights(self) -> Ints:
        """Its weights, without a bias."""
        return self.c_in // self.groups * self.kernel**2 * self.c_out

    def params(self, bias: Ints) -> Ints:
        """Its parameters and those of its norm; `bias` is 1 where it has one."""
        return (self.c_in // self.groups * self.kernel**2 + (bias + 2 * self.norm)) * self.c_out


class BlockModule(Protocol):
    """The class of a kind's blocks: (N, c_in, H, W) -> (N, c_out, H/stride, W/stride)."""

    def __call__(
        self, c_in: int, c_out: int, kernel: int, stride: int, bias: bool, form: BlockForm, skip: nn.Module, first: bool
    ) -> nn.Module:
        """A block that adds what `skip` makes of its input; `bias` is for its convolutions.

        `first` says that it is the network's first block, whose input is normed and activated already. An attribute
        `drop` at the end of the residual path is an identity, which a recipe may replace by stochastic depth.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of block: what is counted, what is built, and which widths it allows.

    Squeeze-and-excitation, activation and skip are the same for all kinds: their modules are in `model_zoo.blocks.parts`,
    their costs in `model_zoo.complexity` and `model_zoo.memory`, which also add up the convolutions.
    """

    summary: str
    """What a block is made of, in a few words for a list of the kinds."""
    convolutions: Callable[[Ints, Ints, Ints, BlockForm], tuple[Convolution, ...]]
    """The convolutions of a block's residual path, in their order: of channels in and out, kernel and form.

    Their number does not depend on the arguments, and their channels do not depend on the kernel.
    """
    module: Callable[[], BlockModule]
    """The class of the blocks; torch is imported by the call."""
    width_problem: Callable[[int, BlockForm], str | None]
    """What keeps a stage from having so many output channels, with its remedy; None where nothing does."""
    stem_problem: Callable[[int, BlockForm], str | None]
    """What keeps the stem from having so many output channels, with its remedy; None where nothing does."""
    skip_norm: bool = True
    """Whether a skip convolution has a norm."""
    last_norm: bool = False
    """Whether the norm and the activation of a block's last convolution are behind the addition.

    The next block begins with them, and the network ends with a pair of its own.
    """

    @property
    def layers(self) -> int:
        """Weighted layers on a block's longest path."""
        return len(self.convolutions(1, 1, 1, PLAIN))

    def is_wide(self, form: BlockForm) -> bool:
        """Whether a block that keeps its width is wider inside; inner widths are proportional, so one width tells."""
        width = 2**10
        return any(conv.c_out > width for conv in self.convolutions(width, width, 1, form))


def undivided(form: BlockForm, channels: int, words: str) -> str | None:
    """What is wrong when the groups do not divide `channels`, which the message calls `words`; None when they do."""
    if channels % form.groups == 0:
        return None
    return f"groups: {form.groups} does not divide the {words}; use a divisor"
