"""Muon: orthogonal updates of convolutions' weights, torch's own as the oracle, and SGD for the rest."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from model_zoo import build
from tests.support.training_fixtures import CPU, LAYOUT, small_recipe
from trainables.optimization.muon import MuonAndSgd, as_matrix, is_filter
from trainables.optimization.optimizers import make_optimizer, set_step

SHAPES = [(6, 4, 3, 3), (16, 4, 1, 1), (4, 16, 1, 1), (40, 2, 3, 3)]


def pair(shape: tuple[int, ...], channels_last: bool) -> tuple[nn.Parameter, nn.Parameter]:
    """Equal parameters."""
    layout = torch.channels_last if channels_last else torch.contiguous_format
    start = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    ours, theirs = (nn.Parameter(start.clone(memory_format=layout)) for _ in range(2))
    return ours, theirs


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_an_update_is_orthogonal_and_scaled_by_its_shape(shape: tuple[int, ...], channels_last: bool) -> None:
    weight, _ = pair(shape, channels_last)
    before = weight.detach().clone()
    made = make_optimizer([weight], small_recipe(optimizer="muon", weight_decay=0, muon_rate_factor=0.25), CPU)
    set_step(made, rate=0.1, momentum=0.9)
    weight.grad = torch.randn(shape, generator=torch.Generator().manual_seed(2)).to(memory_format=torch.channels_last)
    made.step()
    update = ((before - weight.detach()) / (0.1 * 0.25)).flatten(1)
    scale = math.sqrt(max(1.0, shape[0] / math.prod(shape[1:])))
    values = torch.linalg.svdvals(update) / scale
    assert 0.6 < float(values.min()) <= float(values.max()) < 1.25  # Newton-Schulz stops within this of 1
    u, _, v = torch.linalg.svd(weight.grad.flatten(1), full_matrices=False)
    cosine = torch.nn.functional.cosine_similarity(update.flatten(), (u @ v).flatten(), dim=0)
    assert float(cosine) > 0.97


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_several_steps_are_those_of_torchs_own_on_matrices(shape: tuple[int, ...], channels_last: bool) -> None:
    ours, theirs = pair(shape, channels_last)
    recipe = small_recipe(optimizer="muon", weight_decay=0.01, learning_rate=0.1, momentum=0.8, muon_rate_factor=0.25)
    made = make_optimizer([ours], recipe, CPU)
    matrix = nn.Parameter(theirs.detach().reshape(shape[0], -1))
    oracle = torch.optim.Muon([matrix], lr=0.025, weight_decay=0.01 / (0.25 * (1 - 0.8)), momentum=0.8)
    draw = torch.Generator().manual_seed(3)
    for _ in range(5):
        gradient = torch.randn(shape, generator=draw)
        ours.grad, matrix.grad = gradient.clone(), gradient.reshape(shape[0], -1)
        made.step()
        oracle.step()
    # in bfloat16, where sums over columns in another order round to others
    tolerance = 0.01 if channels_last and shape[2] > 1 else 1e-6
    torch.testing.assert_close(ours.detach().reshape(shape[0], -1), matrix.detach(), rtol=0, atol=tolerance)


def test_a_matrix_shares_the_weights_memory_in_either_order() -> None:
    for weight in (*pair((6, 4, 3, 3), True), *pair((6, 4, 3, 3), False)):
        matrix = as_matrix(weight.detach(), weight)
        assert matrix.data_ptr() == weight.data_ptr()
        assert sorted(matrix[0].tolist()) == sorted(weight[0].flatten().tolist())


def test_convolutions_that_map_channels_are_muons_and_the_rest_is_sgds() -> None:
    network = build(LAYOUT).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    depthwise = nn.Conv2d(4, 4, 3, groups=4)
    params = [*network.parameters(), *depthwise.parameters()]
    kinds = {name: is_filter(param) for name, param in network.named_parameters()}
    assert {name for name, muons in kinds.items() if muons} == {
        name for name in kinds if "conv" in name and name.endswith("weight")
    }
    assert not any(map(is_filter, depthwise.parameters()))
    made = make_optimizer(params, small_recipe(optimizer="muon", learning_rate=0.3), CPU)
    muon, sgd = made.param_groups
    assert (muon["lr"], sgd["lr"]) == pytest.approx((0.15, 0.3))
    assert sgd["nesterov"]
    assert sgd["fused"]
    assert len(muon["params"]) + len(sgd["params"]) == len(params)
    set_step(made, 0.1, 0.7)
    assert [(group["lr"], group["momentum"]) for group in made.param_groups] == [
        (pytest.approx(0.05), 0.7),
        (0.1, 0.7),
    ]


def test_the_rest_moves_as_under_nesterov() -> None:
    networks: list[nn.Module] = []
    for optimizer in ("muon", "nesterov"):
        network = build(LAYOUT)
        made = make_optimizer(network.parameters(), small_recipe(optimizer=optimizer, weight_decay=0.01), CPU)
        draw = torch.Generator().manual_seed(4)
        for _ in range(3):
            for param in network.parameters():
                param.grad = torch.randn(param.shape, generator=draw)
            made.step()
        networks.append(network)
    for (name, ours), theirs in zip(networks[0].named_parameters(), networks[1].parameters(), strict=True):
        assert torch.equal(ours, theirs) == (ours.dim() != 4), name


def test_without_gradients_all_weights_shrink_alike() -> None:
    filters, linear = (nn.Parameter(torch.ones(shape)) for shape in ((4, 4, 3, 3), (4, 4)))
    for factor, momentum in ((0.2, 0.9), (1.0, 0.5)):
        recipe = small_recipe(
            optimizer="muon", weight_decay=1e-3, learning_rate=0.1, momentum=momentum, muon_rate_factor=factor
        )
        with torch.no_grad():
            filters.fill_(1)
            linear.fill_(1)
        made = make_optimizer([filters, linear], recipe, CPU)
        for _ in range(1000):
            filters.grad, linear.grad = torch.zeros_like(filters), torch.zeros_like(linear)
            made.step()
        shrunk = [math.log(float(weight.detach().mean())) for weight in (filters, linear)]
        assert -1.1 < shrunk[0] < -0.1
        assert shrunk[0] == pytest.approx(shrunk[1], rel=0.03)


def test_gradients_are_taken_away_and_state_is_numbered_over_both() -> None:
    weights: list[Tensor] = [nn.Parameter(torch.ones(shape)) for shape in ((3,), (4, 2, 1, 1), (2, 2))]
    made = MuonAndSgd([{"params": weights}], 0.1, 0.9, 0.0, 1.0, True)
    for weight in weights:
        weight.grad = torch.ones_like(weight)
    made.step()
    state = made.state_dict()["state"]
    assert [state[number]["momentum_buffer"].shape for number in range(3)] == [(4, 2), (3,), (2, 2)]
    made.zero_grad(set_to_none=False)
    assert [float(weight.grad.sum()) for weight in weights if weight.grad is not None] == [0, 0, 0]
    made.zero_grad()
    assert [weight.grad for weight in weights] == [None] * 3
