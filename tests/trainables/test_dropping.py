"""Stochastic depth and dropout: how often, by how much, and that they change nothing but the training."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torchvision.ops import stochastic_depth

from model_zoo import ResNetLayout, build
from model_zoo.blocks import KINDS
from tests.support.training_fixtures import (
    CPU,
    LAYOUT,
    assert_same_bits,
    small_recipe,
    small_trainer,
    timeless,
    trained,
)
from trainables.network_setup import Dropping, Scaled

DEEP = ResNetLayout((2, 3), (4, 8), in_channels=3, classes=4)


def blocks_of(network: Any) -> list[Any]:
    return [block for stage in network.stages for block in stage]


def test_paths_are_dropped_more_often_the_deeper_they_are_and_scaled_as_torchvisions() -> None:
    network = build(DEEP)
    dropping = Dropping(network, small_recipe(stochastic_depth=0.5), CPU)
    dropping.draw(20_000, torch.Generator().manual_seed(1))
    for number, block in enumerate(blocks_of(network), 1):
        factors, dropped = block.drop.factors, 0.5 * number / 5
        theirs = stochastic_depth(torch.ones(1000, 1, 1, 1), dropped, "row").unique()
        torch.testing.assert_close(factors.unique(), theirs)
        assert float((factors == 0).float().mean()) == pytest.approx(dropped, abs=0.012)  # 3.4 standard deviations
        assert float(factors.mean()) == pytest.approx(1, abs=0.03)
    first, last = blocks_of(network)[0].drop.factors, blocks_of(network)[-1].drop.factors
    assert abs(float(torch.corrcoef(torch.stack([first, last]))[0, 1])) < 0.03


def test_an_image_whose_path_is_dropped_takes_the_skip() -> None:
    network = build(DEEP).train()
    plain = build(DEEP).train()
    Dropping(network, small_recipe(stochastic_depth=0.5), CPU)
    x = torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(2)).relu()
    ours, theirs = blocks_of(network)[1], blocks_of(plain)[1]
    ours.drop.factors = torch.tensor([0.0, 1.0, 1.25])
    path = theirs.norm2(theirs.conv2(torch.relu(theirs.norm1(theirs.conv1(x)))))
    found = ours(x)
    torch.testing.assert_close(found[0], x[0])
    torch.testing.assert_close(found[1], torch.relu(x[1] + path[1]))
    torch.testing.assert_close(found[2], torch.relu(x[2] + 1.25 * path[2]))
    found[0].sum().backward()
    assert not ours.conv2.weight.grad.any()


@pytest.mark.parametrize("squeeze", [0, 4])
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_of_block_can_be_dropped(kind: str, squeeze: int) -> None:
    layout = ResNetLayout((2, 1), (16, 16), in_channels=3, classes=4, block=kind, squeeze=squeeze)  # type: ignore[arg-type]
    network, plain = build(layout).train(), build(layout).train()
    plain.load_state_dict(network.state_dict())
    Dropping(network, small_recipe(stochastic_depth=0.5), CPU)
    x = torch.randn(2, 16, 8, 8, generator=torch.Generator().manual_seed(2)).relu()
    ours, theirs = blocks_of(network)[1], blocks_of(plain)[1]
    ours.drop.factors = torch.tensor([0.0, 1.0])
    found = ours(x)
    torch.testing.assert_close(found[0], x[0])  # nothing of it is negative
    torch.testing.assert_close(found[1], theirs(x)[1])
    assert not torch.equal(found[1], x[1])


def test_features_are_dropped_one_by_one() -> None:
    network = build(LAYOUT).train()
    dropping = Dropping(network, small_recipe(dropout=0.25), CPU)
    dropping.draw(5_000, torch.Generator().manual_seed(3))
    factors = network.dropout.factors
    assert factors.shape == (5_000, LAYOUT.channels[-1])
    torch.testing.assert_close(factors.unique(), torch.tensor([0.0, 1 / 0.75]))
    assert float((factors == 0).float().mean()) == pytest.approx(0.25, abs=0.008)
    seen = []
    network.head.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    network(torch.randn(5_000, 3, 4, 4))
    assert not seen[0][factors == 0].any()
    assert float((seen[0][factors > 0] > 0).float().mean()) > 0.5  # the rest of the zeros is ReLU's


@pytest.mark.parametrize("options", [{"stochastic_depth": 0.5}, {"dropout": 0.5}])
def test_a_training_drops_and_an_evaluation_does_not(options: dict[str, float]) -> None:
    trainers = [small_trainer(small_recipe(**chosen, batch_size=70), epochs=1) for chosen in ({}, options)]
    x = torch.randn(4, 3, 8, 10)
    first, second = (trainer.network.eval()(x) for trainer in trainers)
    assert torch.equal(first, second)
    assert [*trainers[0].network.state_dict()] == [*trainers[1].network.state_dict()]
    losses = [trained(trainer)[0].train_loss for trainer in trainers]
    assert abs(losses[0] - losses[1]) > 1e-3


def test_the_same_is_dropped_whenever_the_seed_is_the_same() -> None:
    recipe = small_recipe(stochastic_depth=0.5, dropout=0.5)
    reports = [[timeless(report) for report in trained(small_trainer(recipe, seed=seed))] for seed in (5, 5, 6)]
    assert reports[0] == reports[1] != reports[2]


def test_a_recipe_that_drops_nothing_draws_nothing() -> None:
    network, generator = build(LAYOUT), torch.Generator().manual_seed(1)
    state = generator.get_state()
    Dropping(network, small_recipe(), CPU).draw(16, generator)
    assert torch.equal(generator.get_state(), state)
    assert_same_bits(dict(network.state_dict()), dict(build(LAYOUT).state_dict()))


def test_both_passes_of_sam_drop_the_same() -> None:
    trainer = small_trainer(small_recipe(stochastic_depth=0.5, sam_radius=0.05), epochs=1)
    seen: list[torch.Tensor] = []
    drop = blocks_of(trainer.network)[-1].drop
    drop.register_forward_hook(lambda module, inputs, output: seen.append(module.factors))
    trained(trainer)
    steps = seen[:8]
    assert all(torch.equal(first, second) for first, second in zip(steps[::2], steps[1::2], strict=True))
    assert not torch.equal(steps[0], steps[2])


def test_a_block_without_a_place_for_it_is_refused() -> None:
    network = build(LAYOUT)
    del blocks_of(network)[1].drop
    with pytest.raises(TypeError, match="BasicBlock: no `drop` at the end of its residual path"):
        Dropping(network, small_recipe(stochastic_depth=0.5), CPU)


def test_a_training_without_a_draw_is_refused() -> None:
    with pytest.raises(RuntimeError, match="none drawn for this step"):
        Scaled()(torch.zeros(1))
