"""What a recipe does to a network: initial weights, stochastic depth and dropout."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from model_zoo import ResNetLayout, build
from model_zoo.network import ResNet
from trainables.recipe import Recipe

HEAD_STREAM, CONV_STREAM = (1,), (2,)
"""Spawn keys of the random streams from which `head_init` and `conv_init` draw; the streams of the epochs have none."""


class Scaled(nn.Module):
    """Multiplies each image, or each of its features, by `factors`, set beforehand; does nothing in evaluation."""

    def __init__(self) -> None:
        super().__init__()
        self.factors: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        if self.factors is None:
            raise RuntimeError("factors: none drawn for this step; draw them, or evaluate with network.eval()")
        factors = self.factors.to(x.dtype)
        return x * factors.view(*factors.shape, *[1] * (x.dim() - factors.dim()))


class Dropping:
    """Adds the stochastic depth and the dropout of `recipe` to `network` on `device`, without new parameters or names.

    The residual path of block l of L is dropped for each image with probability l / L times `stochastic_depth`, and the
    paths that are kept are divided by the probability of being kept, as in torchvision's mode "row". Each feature in
    front of the linear layer is dropped with probability `dropout`, and the others are divided in the same way. Both
    passes of SAM drop the same paths and features.

    Source: Huang et al., Deep Networks with Stochastic Depth, arXiv 1603.09382; the division is that of dropout.
    """

    def __init__(self, network: ResNet, recipe: Recipe, device: torch.device) -> None:
        self._paths: list[Scaled] = []
        self._features: Scaled | None = None
        self._kept_features, self._width = 1 - recipe.dropout, network.head.in_features
        if recipe.stochastic_depth:
            for stage in network.stages:
                for block in stage:  # type: ignore[attr-defined]  # a Sequential
                    if not hasattr(block, "drop"):
                        raise TypeError(f"{type(block).__name__}: no `drop` at the end of its residual path; add one")
                    block.drop = Scaled()
                    self._paths.append(block.drop)
            places = torch.arange(1, len(self._paths) + 1, dtype=torch.float64) / len(self._paths)
            self._kept = (1 - recipe.stochastic_depth * places).to(device, torch.float32)[:, None]
        if recipe.dropout:
            network.dropout = self._features = Scaled()

    def draw(self, images: int, generator: torch.Generator) -> None:
        """Draws what a step of `images` images drops from the epoch's generator, if anything is dropped at all."""
        if self._paths:
            draws = torch.rand(len(self._paths), images, generator=generator, device=generator.device)
            for path, factors in zip(self._paths, (draws < self._kept) / self._kept, strict=True):
                path.factors = factors
        if self._features is not None:
            draws = torch.rand(images, self._width, generator=generator, device=generator.device)
            self._features.factors = (draws < self._kept_features) / self._kept_features


def starting_network(layout: ResNetLayout, recipe: Recipe, seed: int) -> ResNet:
    """The network of `layout` on the CPU, with initial weights that depend only on `recipe` and `seed`.

    Source: for Xavier normal, Glorot & Bengio, Understanding the difficulty of training deep feedforward neural
    networks; for Kaiming normal, He et al., arXiv 1502.01852.
    """
    network = build(layout, seed)
    if recipe.conv_init != "kaiming-fan-out":
        generator = _stream(seed, CONV_STREAM)
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                _initialise(module, recipe.conv_init, generator)
    if recipe.head_init != "uniform":
        _initialise(network.head, recipe.head_init, _stream(seed, HEAD_STREAM))
    return network


def _initialise(layer: nn.Conv2d | nn.Linear, name: str, generator: torch.Generator) -> None:
    """Draws the weights of `layer`, and for torch's default its biases too, which are zero otherwise."""
    match name:
        case "kaiming-fan-in":
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
        case "xavier-normal":
            nn.init.xavier_normal_(layer.weight, generator=generator)
        case "xavier-normal-relu":
            nn.init.xavier_normal_(layer.weight, nn.init.calculate_gain("relu"), generator=generator)
        case "torch":
            bound = 1 / math.sqrt(layer.weight[0].numel())
            for values in (layer.weight, layer.bias):
                if values is not None:
                    nn.init.uniform_(values, -bound, bound, generator=generator)


def _stream(seed: int, key: tuple[int]) -> torch.Generator:
    state = np.random.SeedSequence(seed, spawn_key=key).generate_state(1)[0]
    return torch.Generator().manual_seed(int(state))
