"""Adaptive gradient clipping, against the paper's formula unit by unit."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.support.training_fixtures import RATES, small_recipe, small_trainer, state_of, trained
from trainables.optimization.clipping import LEAST_GRADIENT_NORM, LEAST_WEIGHT_NORM, clip_adaptively

SHAPES = [(6,), (1,), (6, 4), (6, 4, 3, 3), (6, 1, 1, 1), (1, 5, 3, 3)]


def clipped(weight: Tensor, gradient: Tensor, limit: float) -> Tensor:
    """The paper's equation 3, a unit at a time; a vector is one unit, as in the paper's code."""
    if weight.dim() <= 1:
        largest = limit * max(float(weight.norm()), LEAST_WEIGHT_NORM)
        norm = max(float(gradient.norm()), LEAST_GRADIENT_NORM)
        return gradient * (largest / norm) if norm > largest else gradient
    return torch.stack(
        [clipped(w.flatten(), g.flatten(), limit).view_as(g) for w, g in zip(weight, gradient, strict=True)]
    )


def parameters(seed: int, weight_scale: float, gradient_scale: float, channels_last: bool) -> list[Tensor]:
    draw, made = torch.Generator().manual_seed(seed), []
    for shape in SHAPES:
        weight, gradient = (torch.randn(shape, generator=draw) for _ in range(2))
        # every unit on its own scale, so that some are clipped and others are not
        spread = torch.rand(shape[0], *[1] * (len(shape) - 1), generator=draw) * 4 - 2
        weight, gradient = weight * weight_scale, gradient * gradient_scale * 10**spread
        if channels_last and len(shape) == 4:
            weight, gradient = (t.to(memory_format=torch.channels_last) for t in (weight, gradient))
        made.append(torch.nn.Parameter(weight))
        made[-1].grad = gradient
    return made


@settings(deadline=None)
@given(
    seed=st.integers(0, 2**31),
    weight_scale=st.sampled_from([0.0, 1e-4, 1.0]),
    gradient_scale=st.sampled_from([0.0, 1e-9, 0.01, 100.0]),
    limit=st.floats(1e-4, 2),
    channels_last=st.booleans(),
)
def test_every_unit_is_clipped_by_the_papers_formula(
    seed: int, weight_scale: float, gradient_scale: float, limit: float, channels_last: bool
) -> None:
    params = parameters(seed, weight_scale, gradient_scale, channels_last)
    weights = [param.detach().clone() for param in params]
    gradients = [param.grad.clone() for param in params if param.grad is not None]
    strides = [gradient.stride() for gradient in gradients]
    clip_adaptively(params, limit)
    for param, weight, gradient, stride in zip(params, weights, gradients, strides, strict=True):
        assert param.grad is not None
        torch.testing.assert_close(param.grad, clipped(weight, gradient, limit), rtol=1e-5, atol=1e-12)
        assert torch.equal(param, weight)
        assert param.grad.stride() == stride


def test_gradients_within_the_limit_keep_every_bit() -> None:
    params = parameters(1, 1.0, 1e-6, channels_last=True)
    before = [param.grad.clone() for param in params if param.grad is not None]
    clip_adaptively(params, 0.5)
    assert all(torch.equal(param.grad, gradient) for param, gradient in zip(params, before, strict=True))


def test_clipping_reads_nothing_back() -> None:
    params = [torch.nn.Parameter(torch.empty(shape, device="meta")) for shape in SHAPES]
    for param in params:
        param.grad = torch.empty_like(param)
    clip_adaptively(params, 0.01)  # a meta tensor has no numbers: to ask for one raises
    assert all(param.grad is not None and param.grad.shape == param.shape for param in params)


def test_parameters_without_a_gradient_are_left_out() -> None:
    with_one, without = (torch.nn.Parameter(torch.ones(3)) for _ in range(2))
    clip_adaptively([without], 0.01)
    with_one.grad = torch.ones(3)
    clip_adaptively([without, with_one], 0.01)
    assert without.grad is None
    torch.testing.assert_close(with_one.grad, torch.full((3,), 0.01))


@pytest.mark.parametrize("optimizer", sorted(RATES))
def test_a_step_clips_everything_but_the_linear_layer_before_the_update(optimizer: str) -> None:
    options = {"optimizer": optimizer, "batch_size": 70, "learning_rate": RATES[optimizer], "schedule": "constant"}
    plain, limited = (
        small_trainer(small_recipe(**options, adaptive_clipping=limit), epochs=1) for limit in (0.0, 1e-3)
    )
    start = {name: param.detach().clone() for name, param in plain.network.named_parameters()}
    for trainer in (plain, limited):
        trainer.train_epoch()
    names = dict(plain.network.named_parameters())
    changed = set()
    for name, param in limited.network.named_parameters():
        whole = names[name].grad
        assert whole is not None
        assert param.grad is not None
        expected = whole if name.startswith("head.") else clipped(start[name], whole, 1e-3)
        torch.testing.assert_close(param.grad, expected, rtol=1e-4, atol=1e-9)
        if not torch.equal(expected, whole):
            changed.add(name)
    assert changed
    assert changed.isdisjoint({"head.weight", "head.bias"})


def test_adadelta_with_clipping_learns_and_trains_another_network_than_without() -> None:
    recipe = small_recipe(optimizer="adadelta", learning_rate=1.0)
    trainers = [
        small_trainer(recipe.model_copy(update={"adaptive_clipping": limit}), epochs=4) for limit in (0.0, 0.01)
    ]
    losses = [[report.train_loss for report in trained(trainer)] for trainer in trainers]
    assert losses[1][-1] < losses[1][0]
    states = [state_of(trainer) for trainer in trainers]
    assert not torch.equal(states[0]["network stem.conv.weight"], states[1]["network stem.conv.weight"])
