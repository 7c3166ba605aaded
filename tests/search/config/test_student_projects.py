"""What the two student projects did beside their grids: each fact is a key or a command of this project.

The grids, layouts and recipes themselves are in test_configs.py and test_presets.py.
"""

from __future__ import annotations

import itertools
import shlex

import pytest
import torch

from model_zoo import PRESETS, ResNetLayout, count_params
from search.config import RunConfig, compose
from tests.support.cli import ROOT
from tests.support.schedule_fixtures import rates as all_rates
from trainables.data.splits import VAL_FRACTION
from trainables.recipe import Recipe
from trainables.schedule import learning_rate, momentum

A_STEPS = 176


def composed(name: str, *sets: str) -> RunConfig:
    return compose(ROOT / "configs" / f"{name}.toml", None, {}, sets)


def recipes(name: str) -> list[Recipe]:
    return list(composed(name).recipe.in_order())


def epoch_rates(recipe: Recipe, steps_per_epoch: int, epochs: int) -> list[float]:
    """The rate of each epoch, which is the same at all of its steps."""
    found = all_rates(recipe, steps_per_epoch, epochs)
    assert found == [rate for rate in found[::steps_per_epoch] for _ in range(steps_per_epoch)]
    return found[::steps_per_epoch]


def test_a_split_of_nine_to_one_and_padding_with_zeros() -> None:
    assert VAL_FRACTION == 0.1
    assert {(r.padding_mode, r.cutout, r.label_smoothing) for r in recipes("arora")} == {("zeros", 0, 0.0)}


def test_a_momentum_and_weight_decay_of_each_optimizer() -> None:
    assert {(r.optimizer, r.weight_decay) for r in recipes("arora")} == {
        ("adam", 0.0), ("sgd", 1e-4), ("adadelta", 1e-4)
    }  # fmt: skip
    assert {r.momentum for r in recipes("arora") if r.optimizer == "sgd"} == {0.9}


def test_a_the_grids_rate_falls_to_a_third_every_20_epochs() -> None:
    for recipe in recipes("arora"):
        found = epoch_rates(recipe, A_STEPS, 70)
        assert found == pytest.approx([recipe.learning_rate / 3 ** (epoch // 20) for epoch in range(70)])


def test_a_the_best_model_has_17600_steps_of_torchs_one_cycle_with_a_peak_of_a_tenth() -> None:
    config, (recipe,) = composed("arora-one-cycle"), recipes("arora-one-cycle")
    assert (recipe.weight_decay, recipe.batch_size, config.max_epochs) == (5e-4, 256, 100)
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], 0.001, momentum=0.9, weight_decay=5e-4)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, epochs=100, steps_per_epoch=176)
    total, rates, momenta = 17_600, [], []
    for step in range(total):
        rates.append(learning_rate(recipe, step, A_STEPS, config.rungs))
        momenta.append(momentum(recipe, step, total))
        assert (rates[-1], momenta[-1]) == pytest.approx(
            (optimizer.param_groups[0]["lr"], optimizer.param_groups[0]["momentum"]), rel=1e-9
        )
        optimizer.step()
        if step < total - 1:
            scheduler.step()
    assert max(rates) == pytest.approx(0.1)
    assert (min(momenta), max(momenta)) == pytest.approx((0.85, 0.95))


@pytest.mark.parametrize("name", ["arora", "arora-one-cycle"])
def test_a_an_epoch_of_45000_images_has_176_batches_of_which_the_last_is_smaller(name: str) -> None:
    assert {recipe.batches(45_000) for recipe in recipes(name)} == {A_STEPS} == {-(-45_000 // 256)}


def test_a_initial_weights() -> None:
    (best,) = recipes("arora-one-cycle")
    assert (best.conv_init, best.head_init) == ("kaiming-fan-in", "kaiming-fan-in")
    assert {(r.conv_init, r.head_init) for r in recipes("arora")} == {("torch", "torch")}
    comment = (ROOT / "configs" / "arora.toml").read_text().partition("dataset =")[0]
    given = shlex.split(
        " ".join(line.removeprefix("#").rstrip("\\") for line in comment.splitlines() if "--set" in line)
    )
    sets = [value for flag, value in itertools.pairwise(given) if flag == "--set"]
    own = compose(ROOT / "configs" / "arora.toml", None, {"trials": int(given[given.index("--trials") + 1])}, sets)
    assert own.space.listed_layouts == (PRESETS["arora-resnet10"],)
    models = list(own.recipe.in_order())
    assert {(r.conv_init, r.head_init) for r in models} == {("kaiming-fan-out", "xavier-normal-relu")}
    assert len(models) == own.trials == 9


def test_a_filters_of_3_and_of_5() -> None:
    choices = ("stages=[3]", "kernels=[3,5]", "skip_kernels=[3]", "channels=[16,32,64]", "blocks=[1,2]", "min_params=0")
    space = compose(None, None, {"dataset": "cifar10"}, [f"space.{choice}" for choice in choices]).space
    seed = PRESETS["arora-resnet12"]
    for kernels in ((3, 3, 3), (5, 5, 5), (3, 5, 3)):
        layout = ResNetLayout(seed.blocks, seed.channels, seed.strides, kernels, skip_kernel=seed.skip_kernel)
        assert space.contains(layout)
        listed = compose(None, None, {"dataset": "cifar10", "space": {"layouts": [layout.layout_id]}}, []).space
        assert listed.listed_layouts == (layout,)


def test_b_the_winners_rate_is_a_hundredth_until_81_epochs_and_falls_to_a_tenth_there_and_at_151() -> None:
    config, (recipe,) = composed("cerberus-winner"), recipes("cerberus-winner")
    assert config.space.listed_layouts == (PRESETS["cerberus-resnet24"],)
    found = epoch_rates(recipe, recipe.batches(50_000), config.max_epochs)
    assert found == pytest.approx([0.01] * 81 + [0.001] * 70 + [0.0001] * 49)
    assert (recipe.optimizer, recipe.momentum, recipe.cutout, recipe.patience_epochs) == ("sgd", 0.9, 8, 0)
    assert recipe.batches(50_000) == 391
    assert recipe in recipes("cerberus")


def test_b_batches_of_128_without_patience_and_rotations_of_10_degrees() -> None:
    facts = {(r.batch_size, r.patience_epochs, r.rotation_degrees, r.crop_padding, r.flip) for r in recipes("cerberus")}
    assert facts == {(128, 0, 10.0, 4, True)}
    assert {r.momentum for r in recipes("cerberus") if r.optimizer in ("sgd", "nesterov")} == {0.9}
    assert {(r.conv_init, r.head_init) for r in recipes("cerberus")} == {("torch", "torch")}


def test_b_cutmix_acts_on_half_of_the_batches_and_mixup_on_all() -> None:
    assert {(r.cutmix_alpha > 0, r.mixup_alpha > 0, r.mix_probability) for r in recipes("cerberus")} == {
        (True, False, 0.5), (False, True, 1.0), (False, False, 1.0)
    }  # fmt: skip


def test_b_resnet_32_is_there_as_trained_and_as_published() -> None:
    counts = {layout.stem_channels: count_params(layout) for layout in composed("cerberus").space.listed_layouts
              if layout.blocks == (4, 4, 4, 3)}  # fmt: skip
    assert counts == {64: 4_766_474, 32: 4_754_218}


def test_b_cosine_and_drops_may_also_be_one_schedule() -> None:
    both = composed(
        "cerberus", 'recipe.families.annealing.both={schedule="cosine-step",cosine_epochs=50,step_epochs=80}'
    )
    found = {(r.schedule, r.cosine_epochs, r.step_epochs) for r in both.recipe.in_order()}
    assert ("cosine-step", 50, 80) in found


def test_a_job_of_1_gpu_8_cores_and_32_hours_is_a_run() -> None:
    job = compose(ROOT / "configs" / "arora.toml", None, {"gpus_per_trial": 1, "cpus_per_trial": 8}, [])
    assert (job.gpus_per_trial, job.cpus_per_trial) == (1.0, 8)
    assert compose(None, None, {"time_budget_s": 32 * 3600.0}, []).time_budget_s == 115_200
