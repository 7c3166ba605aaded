"""How long a training step takes on a GPU: what the host takes to launch its kernels, and the GPU to compute them.

The constants are predictions for an H200 (torch 2.15, eager mode); none has been measured yet. They must reproduce what
`benchmarks.concurrency` measures on a GPU.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from search.gpus import Gpu

KERNELS: Final = 60
"""Kernels of a training step beside its convolutions: data, loss, head, fused optimizer, totals."""
KERNELS_PER_CONVOLUTION: Final = 18
"""Kernels of a convolution with its norm and activation, forward and backward."""
MUON_KERNELS: Final = 33
"""Kernels that Muon takes for the weights of a convolution."""
POLICY_KERNELS: Final = 100
"""Kernels of an augmentation policy for a batch."""
LAUNCH_S: Final = 10e-6
"""Seconds that the host takes to launch a kernel of a training step."""
KERNEL_S: Final = 2.5e-6
"""Seconds that a GPU takes for a kernel that computes next to nothing."""
BFLOAT16_RATE: Final = 1.9e12
"""FLOP/s of a multiprocessor in the convolutions of a training in bfloat16."""
TF32_RATE: Final = 0.9e12
"""The same in float32, whose products are TF32."""
TRAINING_PASSES: Final = 3
"""A training step costs about three forward passes: the forward pass itself, and a backward pass that costs two."""


@dataclass(frozen=True, slots=True)
class Step:
    """What a recipe says about the kernels and the FLOPs of its training steps."""

    batch: float
    """Images."""
    bfloat16: bool
    muon: bool = False
    sam: bool = False
    policy: bool = False

    @classmethod
    def of(cls, values_of: Callable[[str], Sequence[Any]], native: bool) -> Step:
        """The step of recipes with these values, on a GPU that computes bfloat16 or not.

        Of several recipes it is the one with the fewest kernels, in float32 if any is, with the median batch.
        """
        return cls(
            batch=float(np.median(values_of("batch_size"))),
            bfloat16=native and "float32" not in values_of("precision"),
            muon=all(value == "muon" for value in values_of("optimizer")),
            sam=all(value > 0 for value in values_of("sam_radius")),
            policy=all(value != "none" for value in values_of("policy")),
        )

    def host_s(self, convolutions: float) -> float:
        """Seconds that the host takes to launch the kernels of a network with so many convolutions."""
        return self._kernels(convolutions) * LAUNCH_S

    def gpu_s(self, convolutions: float, flops: float, gpu: Gpu) -> float:
        """Seconds that `gpu` computes for a network with `flops` FLOPs in a forward pass of one image."""
        passes = TRAINING_PASSES * (2 if self.sam else 1)
        rate = gpu.processors * (BFLOAT16_RATE if self.bfloat16 else TF32_RATE)
        return self._kernels(convolutions) * KERNEL_S + passes * self.batch * flops / rate

    def seconds(self, convolutions: float, flops: float, gpu: Gpu) -> float:
        """Seconds of a step that has the GPU alone: host and GPU work side by side."""
        return max(self.host_s(convolutions), self.gpu_s(convolutions, flops, gpu))

    def _kernels(self, convolutions: float) -> float:
        of_passes = (KERNELS + KERNELS_PER_CONVOLUTION * convolutions) * (2 if self.sam else 1)
        return of_passes + MUON_KERNELS * convolutions * self.muon + POLICY_KERNELS * self.policy
