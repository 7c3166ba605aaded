"""Augmentation policies: torchvision's tables and the distribution of its draws, from the seed of the epoch alone."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import chi2_contingency
from torchvision.transforms import AutoAugment, AutoAugmentPolicy, RandAugment, TrivialAugmentWide, autoaugment

from tests.support.training_fixtures import small_recipe, small_trainer
from trainables.augmentation.batch import augmented_batch
from trainables.augmentation.policies import CIFAR10_POLICY, LEVELS, OPERATIONS, SIGNED, draw_policy, magnitudes
from trainables.recipe import Recipe
from trainables.training import Trainer, epoch_seed

POLICIES: list[dict[str, Any]] = [
    {"policy": "autoaugment"},
    {"policy": "randaugment"},
    {"policy": "randaugment", "policy_operations": 3, "policy_magnitude": 30},
    {"policy": "trivialaugment"},
]


def torchvisions(options: dict[str, Any]) -> torch.nn.Module:
    """Torchvision's transform of the same policy."""
    if options["policy"] == "autoaugment":
        return AutoAugment(AutoAugmentPolicy.CIFAR10)
    if options["policy"] == "trivialaugment":
        return TrivialAugmentWide()
    recipe = Recipe(**options)
    return RandAugment(recipe.policy_operations, recipe.policy_magnitude)


def space(policy: str, size: tuple[int, int]) -> dict[str, tuple[torch.Tensor, bool]]:
    """Torchvision's operations with their magnitudes and whether they have signs."""
    transform = torchvisions({"policy": policy})
    arguments = {"autoaugment": (10, size), "randaugment": (31, size), "trivialaugment": (31,)}[policy]
    return transform._augmentation_space(*arguments)


@pytest.mark.parametrize("policy", sorted(LEVELS))
@pytest.mark.parametrize("size", [(32, 32), (28, 28), (9, 12), (64, 48)])
def test_magnitudes_and_signs_are_torchvisions(policy: str, size: tuple[int, int]) -> None:
    theirs, table = space(policy, size), magnitudes(policy, *size)
    assert tuple(theirs) == (OPERATIONS[1:-1] if policy == "autoaugment" else OPERATIONS[:-2])
    for name, (expected, signed) in theirs.items():
        found = table[OPERATIONS.index(name)]
        assert found.tolist() == (expected.tolist() if expected.ndim else [0.0] * LEVELS[policy])
        assert (name in SIGNED) == signed


def test_sub_policies_and_defaults_are_torchvisions() -> None:
    assert tuple(AutoAugment(AutoAugmentPolicy.CIFAR10).policies) == CIFAR10_POLICY
    default = RandAugment()
    assert (default.num_ops, default.magnitude, default.num_magnitude_bins) == (
        Recipe().policy_operations,
        Recipe().policy_magnitude,
        LEVELS["randaugment"],
    )
    assert TrivialAugmentWide().num_magnitude_bins == LEVELS["trivialaugment"]


@pytest.mark.parametrize("options", POLICIES)
def test_operations_are_drawn_as_often_as_torchvision_draws_them(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    count, image, applied = 3000, torch.zeros(3, 32, 32, dtype=torch.uint8), []

    def note(img: torch.Tensor, name: str, magnitude: float, **_: Any) -> torch.Tensor:
        applied.append((name, magnitude))
        return img

    monkeypatch.setattr(autoaugment, "_apply_op", note)
    transform, theirs = torchvisions(options), Counter[Any]()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        for _ in range(count):
            applied.clear()
            transform(image)
            theirs[tuple(pair for pair in applied if pair[0] != "Identity")] += 1
    drawn = draw_policy(small_recipe(**options), count, 32, 32, np.random.default_rng(5))
    assert len(drawn) == {"autoaugment": 2, "trivialaugment": 1}.get(
        options["policy"], getattr(transform, "num_ops", 0)
    )
    ours = Counter[Any]()
    for i in range(count):
        steps = [(OPERATIONS[step.operations[i]], float(step.magnitudes[i])) for step in drawn]
        ours[tuple(pair for pair in steps if pair[0] != "Identity")] += 1
    kinds = sorted({*ours, *theirs})
    if len(drawn) > 1 and options["policy"] == "randaugment":  # 23 operations with signs in each place: too many in all
        kinds = sorted({one for kind in kinds for one in kind})
        ours, theirs = (
            Counter({one: sum(n * kind.count(one) for kind, n in counts.items()) for one in kinds})
            for counts in (ours, theirs)
        )
    table = np.array([[ours[kind] for kind in kinds], [theirs[kind] for kind in kinds]])
    rare = table.sum(0) < 10
    table = np.column_stack([table[:, ~rare], table[:, rare].sum(1)]) if rare.any() else table
    assert table.shape[1] > 10
    assert chi2_contingency(table).pvalue > 0.001


@pytest.mark.parametrize("options", POLICIES)
def test_a_draw_follows_from_its_seed(options: dict[str, Any]) -> None:
    recipe = small_recipe(**options)
    first, again, other = (draw_policy(recipe, 64, 32, 32, np.random.default_rng(seed)) for seed in (1, 1, 2))
    for one, same, different in zip(first, again, other, strict=True):
        assert one.operations.tolist() == same.operations.tolist() != different.operations.tolist()
        assert one.magnitudes.tolist() == same.magnitudes.tolist() != different.magnitudes.tolist()


def test_without_a_policy_nothing_is_drawn() -> None:
    draw = np.random.default_rng(3)
    state = draw.bit_generator.state
    assert draw_policy(small_recipe(), 64, 32, 32, draw) == []
    assert draw.bit_generator.state == state


def first_batches(trainer: Trainer, epochs: int) -> list[torch.Tensor]:
    """The first training batch of each epoch as the network sees it."""
    seen: list[torch.Tensor] = []

    def keep(_: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        if trainer.network.training and len(seen) == trainer.epoch:
            seen.append(inputs[0].clone())

    trainer.network.register_forward_pre_hook(keep)
    for _ in range(epochs):
        trainer.train_epoch()
    return seen


@pytest.mark.parametrize("options", POLICIES)
def test_a_training_shows_other_operations_in_every_epoch_and_the_same_for_the_same_seed(
    options: dict[str, Any],
) -> None:
    recipe = small_recipe(batch_size=70, **options)
    trainer = small_trainer(recipe)
    first, again, plain = (
        first_batches(small_trainer(one), 2) for one in (recipe, recipe, recipe.model_copy(update={"policy": "none"}))
    )
    assert all(torch.equal(one, same) for one, same in zip(first, again, strict=True))
    seen = []
    for epoch, (one, without) in enumerate(zip(first, plain, strict=True)):
        seed = epoch_seed(trainer.seed, epoch)
        draw = torch.Generator().manual_seed(seed)
        order = trainer.train_indices[torch.randperm(70, generator=draw)]
        given = (trainer.images, order, recipe, trainer.mean, trainer.std, draw)
        assert torch.equal(one, augmented_batch(*given, np.random.default_rng(seed)))
        assert float((one != without).flatten(1).any(1).double().mean()) > 0.5  # the same images in the same order
        seen.append(draw_policy(recipe, 70, 8, 10, np.random.default_rng(seed))[0].operations.tolist())
    assert seen[0] != seen[1]
