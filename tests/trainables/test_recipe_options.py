"""What a training makes of its recipe's options: the head's weights, the momentum, and all of them together."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
import torch.nn.functional as F
from scipy.stats import ks_2samp
from torch import nn

from model_zoo import ResNetLayout, build
from tests.support.training_fixtures import (
    AUGMENTED,
    CPU,
    LAYOUT,
    RATES,
    assert_same_bits,
    plain_batches,
    small_recipe,
    small_trainer,
    state_of,
    timeless,
    trained,
)
from trainables.network_setup import starting_network
from trainables.optimization.optimizers import make_optimizer, set_step
from trainables.recipe import Recipe
from trainables.training import Trainer

WIDE = ResNetLayout((1, 1), (8, 400), classes=100)
EVERYTHING: dict[str, Any] = {
    **AUGMENTED,
    "adaptive_clipping": 0.02,
    "head_init": "xavier-normal",
    "patience_epochs": 5,
    "flip_order": "alternating",
    "erasing": 0.5,
    "resized_crop": 0.4,
    "jitter_contrast": 0.3,
    "jitter_hue": 0.2,
    "keep_last_batch": True,
    "conv_init": "kaiming-fan-in",
}
COMBINATIONS: list[dict[str, Any]] = [
    {"optimizer": "sgd", "schedule": "one-cycle", "mixup_alpha": 0.5, "mix_probability": 0.5, "policy": "autoaugment"},
    {"optimizer": "nesterov", "schedule": "cosine-step", "cosine_epochs": 2, "step_epochs": 3, "cutmix_alpha": 1.0},
    {"optimizer": "sgd", "schedule": "linear", "first_image_size": 4, "cutmix_alpha": 1.0, "mix_strength": "growing"},
    {"patience_epochs": 0, "first_image_size": 3, "resizing_share": 0.8, "mixup_alpha": 1.0, "mix_strength": "fading"},
    {"optimizer": "sgd", "schedule": "milestones", "milestones": "2,4", "conv_init": "torch", "head_init": "torch"},
    {"optimizer": "sgd", "schedule": "exponential", "exponential_factor": 0.5, "cutmix_alpha": 1.0, "policy": "none"},
    {"optimizer": "sgd", "schedule": "plateau", "plateau_epochs": 0, "plateau_metric": "accuracy"},
    {"optimizer": "adam", "schedule": "one-cycle", "cutmix_alpha": 1.0, "policy": "randaugment"},
    {"optimizer": "adamw", "schedule": "cosine", "cosine_epochs": 2, "mixup_alpha": 0.2},
    {"optimizer": "adadelta", "schedule": "step", "step_epochs": 2, "ricap_beta": 0.3, "policy": "trivialaugment"},
    {"optimizer": "muon", "schedule": "linear", "sam_radius": 0.05, "ema_decay": 0.9, "dropout": 0.2},
    {"optimizer": "sgd", "schedule": "cosine-restarts", "restart_epochs": 2, "lookahead_steps": 3, "sam_radius": 0.1},
    {"optimizer": "adamw", "schedule": "warmup-stable-decay", "ema_decay": 0.5, "stochastic_depth": 0.5},
    {"schedule": "rung-annealed", "patience_epochs": 0, "ema_decay": 0.9, "decay_norms": False, "lookahead_steps": 2},
    {
        "optimizer": "muon",
        "schedule": "one-cycle",
        "adaptive_clipping": 0.0,
        "gradient_clipping": 0.5,
        "decay_norms": False,
        "lookahead_steps": 2,
        "stochastic_depth": 0.3,
    },
]
SYSTEMS: dict[str, dict[str, Any]] = {
    "one cycle": {"optimizer": "sgd", "schedule": "one-cycle", "momentum": 0.95, "learning_rate": 0.001},
    "thirds": {"optimizer": "adadelta", "schedule": "step", "step_factor": 1 / 3, "step_epochs": 20},
    "cosine and drops": {
        "optimizer": "adadelta",
        "adaptive_clipping": 0.01,
        "schedule": "cosine-step",
        "cosine_epochs": 50,
        "warmup_epochs": 0,
        "step_epochs": 80,
        "step_factor": 0.1,
        "patience_epochs": 5,
        "cutout": 8,
        "mixup_alpha": 0.5,
    },
    "cutmix": {"schedule": "cosine", "cosine_epochs": 50, "warmup_epochs": 0, "cutout": 0, "cutmix_alpha": 1.0},
}


def expected_spread(layer: nn.Conv2d | nn.Linear, name: str) -> float:
    """The standard deviation of the weights by the formula of `name`."""
    field = layer.weight[0, 0].numel()
    inputs, outputs = layer.weight.shape[1] * field, layer.weight.shape[0] * field
    return {
        "kaiming-fan-out": math.sqrt(2 / outputs),
        "kaiming-fan-in": math.sqrt(2 / inputs),
        "xavier-normal": math.sqrt(2 / (inputs + outputs)),
        "xavier-normal-relu": math.sqrt(4 / (inputs + outputs)),
        "uniform": 1 / math.sqrt(3 * inputs),
        "torch": 1 / math.sqrt(3 * inputs),
    }[name]


@pytest.mark.parametrize("name", get_args(Recipe.model_fields["conv_init"].annotation))
def test_convolutions_start_as_their_recipe_says_and_the_rest_as_before(name: str) -> None:
    layout = ResNetLayout((1, 1), (64, 128), conv_bias=True)
    before, found = (
        dict(starting_network(layout, Recipe.model_validate({"conv_init": n}), 0).named_modules())
        for n in ("kaiming-fan-out", name)
    )
    for path, layer in found.items():
        if isinstance(layer, nn.Conv2d):
            weight, spread = layer.weight.detach(), expected_spread(layer, name)
            assert float(weight.std()) == pytest.approx(spread, rel=4 / math.sqrt(weight.numel()) + 1e-3)
            reach = float(weight.abs().max()) / spread
            assert reach <= math.sqrt(3) if name == "torch" else reach > 2.5
            bias = layer.bias.detach()
            assert float(bias.abs().max()) <= math.sqrt(3) * spread
            assert bool(bias.any()) == (name == "torch")
            assert torch.equal(weight, before[path].weight) == (name == "kaiming-fan-out")
        else:
            for values, earlier in zip(layer.parameters(False), before[path].parameters(False), strict=True):
                assert torch.equal(values, earlier)


@pytest.mark.parametrize("name", get_args(Recipe.model_fields["head_init"].annotation))
def test_the_linear_layer_starts_as_its_recipe_says_and_the_rest_as_before(name: str) -> None:
    before, found = (starting_network(WIDE, Recipe.model_validate({"head_init": n}), 0) for n in ("uniform", name))
    weight, spread = found.head.weight.detach(), expected_spread(found.head, name)
    assert float(weight.std()) == pytest.approx(spread, rel=0.02)  # 40,000 weights: 0.35 % is one standard deviation
    assert (float(weight.abs().max()) <= math.sqrt(3) * spread) == (name in ("uniform", "torch"))
    assert bool(found.head.bias.any()) == (name == "torch")
    assert float(found.head.bias.detach().abs().max()) <= 1 / math.sqrt(400)
    ours, theirs = (
        {key: value for key, value in network.state_dict().items() if not key.startswith("head.")}
        for network in (found, before)
    )
    assert_same_bits(ours, theirs)


def test_torchs_start_is_that_of_torchs_own_layers() -> None:
    network = starting_network(WIDE, Recipe(conv_init="torch", head_init="torch"), 0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for layer in (network.head, network.stages[1][0].conv2):  # type: ignore[index]
            theirs = type(layer)(*layer.weight.shape[1::-1], **({"kernel_size": 3} if layer.weight.dim() == 4 else {}))
            assert ks_2samp(layer.weight.detach().flatten(), theirs.weight.detach().flatten()).pvalue > 1e-3


def test_the_heads_weights_follow_from_the_seed_and_not_from_the_callers_generator() -> None:
    recipe, state = Recipe(head_init="xavier-normal"), torch.random.get_rng_state()
    first, again, other = (starting_network(LAYOUT, recipe, seed).head.weight for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_trainer_starts_from_the_network_of_its_recipe_and_seed() -> None:
    recipe = small_recipe(head_init="xavier-normal")
    assert_same_bits(
        dict(small_trainer(recipe, seed=7).network.state_dict()), dict(starting_network(LAYOUT, recipe, 7).state_dict())
    )


@pytest.mark.parametrize("optimizer", sorted(RATES))
def test_what_a_step_sets_is_what_torchs_own_groups_hold(optimizer: str) -> None:
    made = make_optimizer([torch.nn.Parameter(torch.zeros(2))], small_recipe(optimizer=optimizer), CPU)
    before = dict(made.param_groups[0])
    set_step(made, 0.25, 0.5)
    changed = {
        name: value for name, value in made.param_groups[0].items() if name != "params" and value != before[name]
    }
    expected: dict[str, Any] = {"lr": 0.25}
    if optimizer in ("sgd", "nesterov", "muon"):
        expected["momentum"] = 0.5
    if optimizer in ("adam", "adamw"):
        expected["betas"] = (0.5, 0.999)
    assert changed == expected


@pytest.mark.parametrize("optimizer", ["sgd", "nesterov", "adam", "adamw"])
def test_one_cycle_trains_with_torchs_learning_rates_and_momenta(optimizer: str) -> None:
    recipe = small_recipe(optimizer=optimizer, schedule="one-cycle", learning_rate=RATES[optimizer], momentum=0.95)
    trainer = small_trainer(recipe)
    trained(trainer)
    cycled, fixed = (plainly_trained(trainer, cycle_momentum) for cycle_momentum in (True, False))
    found = trainer.network.head.weight.detach()
    torch.testing.assert_close(found, cycled, rtol=1e-3, atol=1e-4)
    assert float((found - fixed).abs().max()) > 3e-3  # thirty times what the two above may differ by


def plainly_trained(trainer: Trainer, cycle_momentum: bool) -> torch.Tensor:
    """The head's weights after torch's own optimizer and OneCycleLR went over the batches of `trainer`."""
    recipe, network = trainer.recipe, build(LAYOUT, trainer.seed).train()
    made = make_optimizer(network.parameters(), recipe, CPU)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        made, recipe.learning_rate, epochs=trainer.epochs, steps_per_epoch=4, cycle_momentum=cycle_momentum
    )
    for _, x, y in plain_batches(trainer.epochs, trainer.seed):
        loss = F.cross_entropy(network(x), y, label_smoothing=recipe.label_smoothing)
        made.zero_grad()
        loss.backward()
        made.step()
        scheduler.step()
    return network.head.weight.detach()


@pytest.mark.parametrize("name", sorted(SYSTEMS))
def test_the_trainings_of_both_systems_are_recipes_of_which_every_field_is_read(name: str) -> None:
    values = SYSTEMS[name] | {"batch_size": 128, "label_smoothing": 0.0, "rotation_degrees": 10.0}
    recipe = Recipe.model_validate(values)
    assert recipe.problems_over(200) == []
    assert recipe.unread.isdisjoint(values)
    assert recipe.canonical().model_dump() | values == recipe.canonical().model_dump()


@pytest.mark.parametrize("options", COMBINATIONS)
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_with_every_option_a_resumed_training_is_the_uninterrupted_one_to_the_last_bit(
    options: dict[str, Any], precision: str, tmp_path: Path
) -> None:
    rate = RATES[options.get("optimizer", "nesterov")]
    recipe = small_recipe(**EVERYTHING | options, precision=precision, learning_rate=rate)
    whole = small_trainer(recipe, epochs=6, rungs=(2, 6))
    reports = [timeless(report) for report in trained(whole, tmp_path)]
    for epoch in range(1, 7):
        resumed = small_trainer(recipe, epochs=6, rungs=(2, 6))
        resumed.load(tmp_path / f"epoch-{epoch}")
        assert [timeless(report) for report in trained(resumed)] == reports[epoch:]
        assert_same_bits(state_of(resumed), state_of(whole))
