"""Where a training runs: the arithmetic, the memory format, and that a GPU is never waited for within an epoch."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch

from tests.support.training_fixtures import AUGMENTED, CPU, LAYOUT, small_recipe, small_set, small_trainer
from trainables.devices import autocast, pick_device, resolve_precision
from trainables.errors import DeviceError
from trainables.recipe import Optimizer
from trainables.training import Trainer


def test_no_accelerator_is_taken_unless_asked_for() -> None:
    assert pick_device(accelerator=False) == CPU
    assert (pick_device().type == "cuda") == torch.cuda.is_available()


@pytest.mark.skipif(torch.cuda.is_available() or torch.backends.mps.is_available(), reason="there is one")
def test_a_gpu_that_is_asked_for_is_not_replaced_by_the_cpu() -> None:
    with pytest.raises(DeviceError, match=r"^gpus_per_trial: a GPU is requested, but torch .* cannot use one: [^;]+; "):
        pick_device(accelerator=True)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_precision_by_name_is_taken_and_computes_the_products(precision: str) -> None:
    dtype = getattr(torch, precision)
    assert resolve_precision(small_recipe(precision=precision), CPU) == dtype
    with autocast(dtype, CPU):
        assert torch.nn.functional.linear(torch.ones(2, 3), torch.ones(4, 3)).dtype == dtype
    assert torch.nn.functional.linear(torch.ones(2, 3), torch.ones(4, 3)).dtype == torch.float32


@pytest.mark.skipif(not Path("/proc/cpuinfo").exists(), reason="the oracle is Linux's list of the CPU's features")
def test_auto_is_bfloat16_exactly_where_the_cpu_multiplies_it() -> None:
    features = set(re.findall(r"\b(?:avx512_bf16|amx_tile)\b", Path("/proc/cpuinfo").read_text()))
    expected = torch.bfloat16 if features else torch.float32
    assert resolve_precision(small_recipe(precision="auto"), CPU) == expected


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("options", [{}, AUGMENTED])
def test_activations_and_gradients_stay_channels_last_through_the_network(
    options: dict[str, Any], precision: str
) -> None:
    trainer = small_trainer(small_recipe(precision=precision, **options), epochs=1)
    seen: list[tuple[torch.dtype, bool]] = []

    def look(tensor: torch.Tensor) -> None:
        if tensor.dim() == 4:
            seen.append((tensor.dtype, tensor.is_contiguous(memory_format=torch.channels_last)))

    def follow(_: torch.nn.Module, inputs: tuple[torch.Tensor], output: torch.Tensor) -> None:
        for tensor in (inputs[0], output):
            look(tensor)
        if output.requires_grad:
            output.register_hook(look)

    for module in trainer.network.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.BatchNorm2d):
            module.register_forward_hook(follow)
    trainer.train_epoch()
    assert len(seen) > 100
    assert all(channels_last for _, channels_last in seen)
    assert {dtype for dtype, _ in seen} == {torch.float32, getattr(torch, precision)}
    state = trainer.optimizer.state_dict()["state"]
    for number, parameter in enumerate(trainer.network.parameters()):
        assert parameter.dtype == torch.float32
        assert parameter.grad is not None
        assert parameter.stride() == parameter.grad.stride() == state[number]["momentum_buffer"].stride()


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore:Synchronization debug mode:UserWarning")
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"adaptive_clipping": 0.01, "mixup_alpha": 0.5},
        {"cutmix_alpha": 1.0, "flip_order": "alternating", "first_image_size": 4, "mix_strength": "growing"},
        {"ricap_beta": 0.3, "erasing": 0.5, "policy": "autoaugment"},
        {"policy": "randaugment", "policy_operations": 16},
        {"cutmix_alpha": 1.0, "gradient_clipping": 1.0, "lookahead_steps": 1, "ema_decay": 0.9},
        {"sam_radius": 0.05, "decay_norms": False, "stochastic_depth": 0.2, "dropout": 0.1},
    ],
)
@pytest.mark.parametrize("optimizer", get_args(Optimizer))
def test_no_step_on_a_gpu_waits_for_it(optimizer: str, options: dict[str, Any]) -> None:
    recipe = small_recipe(optimizer=optimizer, precision="bfloat16", **AUGMENTED, **options)
    trainer = Trainer(LAYOUT, recipe, small_set(), torch.device("cuda"), epochs=3)
    trainer.train_epoch()  # the first step of a process may wait for libraries to load
    draw, host_draw = torch.Generator(trainer.device).manual_seed(0), np.random.default_rng(0)
    torch.cuda.set_sync_debug_mode("error")
    try:
        trainer.update.prepare(4)
        trainer._train_step(4, trainer.train_indices[:16], draw, host_draw)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert trainer.epoch == 1


@pytest.mark.gpu
def test_a_gpu_trains_as_a_cpu_does() -> None:
    recipe = small_recipe(batch_size=70, schedule="constant", learning_rate=1e-3)
    reports = [
        Trainer(LAYOUT, recipe, small_set(), torch.device(name), epochs=1).train_epoch() for name in ("cpu", "cuda")
    ]
    # one batch of all images, since the two draw other orders; the GPU's convolutions round to TF32
    assert reports[0].train_loss == pytest.approx(reports[1].train_loss, rel=0.01)
    assert reports[0].val_loss == pytest.approx(reports[1].val_loss, rel=0.02)
