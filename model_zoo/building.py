"""Building a network from its layout; torch is imported by the call, so counting needs none of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from model_zoo.layout import ResNetLayout

if TYPE_CHECKING:
    from model_zoo.network import ResNet


def build(layout: ResNetLayout, seed: int = 0) -> ResNet:
    """The network of `layout` on the CPU in float32, initialised from `seed` alone.

    It maps images (N, in_channels, H, W) to logits (N, classes).
    """
    import torch

    from model_zoo.network import ResNet

    # Torch's own initialisation, overwritten at once, draws from the global generator, which is the caller's.
    with torch.random.fork_rng(devices=[]):
        return ResNet(layout, seed)
