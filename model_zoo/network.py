"""The residual network as a torch module."""

from __future__ import annotations

import contextlib
import math
from typing import Literal

import torch
from torch import Tensor, nn

from model_zoo.blocks import KINDS
from model_zoo.blocks.kind import BlockShape
from model_zoo.blocks.parts import Depthwise, activated, skip, stem
from model_zoo.layout import ResNetLayout


class ResNet(nn.Module):
    """A residual network: images (N, in_channels, H, W) of any size -> logits (N, classes).

    Convolutions are initialised Kaiming-normal with fan-out (groups and the kind of activation do not enter, as in
    torchvision), depthwise ones with that of one channel, norms as the identity, and linear layers uniformly within
    1/sqrt(features), so that the gates of squeezes start near a half; all from `seed`. Source: He et al., arXiv
    1502.01852.
    """

    def __init__(self, layout: ResNetLayout, seed: int) -> None:
        super().__init__()
        self.layout = layout
        self.stem = stem(layout.in_channels, layout.stem_channels, layout.form)
        kind = KINDS[layout.block]
        block_class = kind.block_class()
        stages: list[nn.Module] = []
        c_in = layout.stem_channels
        for blocks, c, stride, kernel in zip(
            layout.blocks, layout.channels, layout.strides, layout.kernels, strict=True
        ):
            stage = []
            for j in range(blocks):
                step, first = stride if j == 0 else 1, not stages and j == 0
                shape = BlockShape(c_in, c, kernel, step, layout.form, first)
                stage.append(block_class(shape, skip(shape, kind)))
                c_in = c
            stages.append(nn.Sequential(*stage))
        self.stages = nn.Sequential(*stages)
        self.dropout: nn.Module = nn.Identity()  # where a recipe puts dropout
        # Where sums are normed and activated by what reads them, the last one is here.
        self.norm = nn.BatchNorm2d(c_in) if kind.last_norm else None
        self.head = nn.Linear(c_in, layout.classes)
        self._initialise(torch.Generator().manual_seed(seed))

    def _initialise(self, generator: torch.Generator) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                # A depthwise filter has one input and one output; torch's fan-out would count all filters.
                mode: Literal["fan_in", "fan_out"] = "fan_in" if isinstance(module, Depthwise) else "fan_out"
                nn.init.kaiming_normal_(module.weight, mode=mode, nonlinearity="relu", generator=generator)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Linear):
                bound = 1 / math.sqrt(module.in_features)
                nn.init.uniform_(module.weight, -bound, bound, generator=generator)
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = activated(self.stem(x), self.layout.activation)
        x = self.stages(x)
        if self.norm is not None:
            x = activated(self.norm(x), self.layout.activation)
        # Under autocast too the logits are float32: in bfloat16 those from 4 to 8 are 1/32 apart, so close classes tie.
        reduced = x.device.type != "meta" and torch.is_autocast_enabled(x.device.type)
        with torch.autocast(x.device.type, enabled=False) if reduced else contextlib.nullcontext():
            means = x.mean(dim=(2, 3), dtype=torch.float32 if reduced else None)  # (N, C, H, W) -> (N, C): any size
            logits: Tensor = self.head(self.dropout(means))
        return logits
