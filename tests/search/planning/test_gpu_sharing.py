"""`gpus_per_trial = auto`: the arithmetic of how many trials share a GPU, and where it is settled."""

from __future__ import annotations

from pathlib import Path
from queue import Queue
from threading import Barrier
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import concurrency
from model_zoo import PRESETS, ResNetLayout, build, count_activation_bytes, count_params
from search.config import RunConfig, compose
from search.errors import ConfigError, ResourceError
from search.gpus import Gpu, Gpus
from search.planning.gpu_sharing import (
    CONTEXT_BYTES,
    MOST_AT_ONCE,
    WORTH,
    TrialNeeds,
    needs_of,
    training_bytes,
    trials_at_once,
    with_share,
)
from search.planning.gpu_time import Step
from search.planning.resources import fitting_concurrency, gpu_share
from tests.support.cli import ROOT
from tests.support.training_fixtures import CPU, small_recipe
from trainables.optimization.optimizers import make_optimizer
from trainables.recipe import Recipe

BIG = Gpu("H", 80 * 10**9, 80 * 10**9, 132, bfloat16=True)
H200 = Gpu("NVIDIA H200", 150 * 10**9, 149 * 10**9, 132, bfloat16=True)
IDLE = TrialNeeds(memory_bytes=10**9, host_s=0.004, gpu_s=0.001)


def gpu_of(free: int, processors: int = 132) -> Gpu:
    """A GPU of which so much memory is free."""
    return Gpu("H", 2 * free, free, processors, bfloat16=True)


def settled(given: dict[str, Any], monkeypatch: pytest.MonkeyPatch, memory: int, gpus: int = 1) -> RunConfig:
    """`with_share` on a machine with such GPUs and 64 cores."""
    found = Gpus(usable=(gpu_of(memory),) * gpus, present=gpus)
    monkeypatch.setattr("search.planning.gpu_sharing.gpus", lambda: found)
    monkeypatch.setattr("search.planning.gpu_sharing.available_cpus", lambda: 64)
    return with_share(compose(None, None, {"dataset": "cifar10", "gpus_per_trial": "auto", **given}, []))


def test_a_gpu_that_waits_for_its_host_is_shared_until_it_does_not() -> None:
    assert trials_at_once(IDLE, BIG, 64) == 4
    at_work = TrialNeeds(10**9, host_s=0.004, gpu_s=0.1)
    assert trials_at_once(at_work, BIG, 64) == 1


def test_memory_and_cores_bound_the_number() -> None:
    assert trials_at_once(IDLE, BIG, 2) == 2
    for memory, expected in ((10**10, 4), (2 * 10**9, 1), (23 * 10**8, 2), (10**8, 1)):
        assert trials_at_once(IDLE, gpu_of(memory), 64) == expected


@given(st.floats(1e6, 1e12), st.floats(1e-4, 1), st.floats(1e-4, 1), st.integers(10**9, 10**12), st.integers(0, 64))
def test_it_is_never_beyond_a_bound_and_a_larger_gpu_holds_no_fewer(
    memory: float, host_s: float, gpu_s: float, device: int, slots: int
) -> None:
    needs = TrialNeeds(memory, host_s, gpu_s)
    number = trials_at_once(needs, gpu_of(device, 80), slots)
    assert 1 <= number <= MOST_AT_ONCE
    assert number == 1 or (number * memory <= 0.9 * device and number <= slots)
    assert trials_at_once(needs, gpu_of(2 * device, 80), slots) >= number
    assert number == 1 or min(number, host_s / gpu_s) > WORTH
    assert trials_at_once(TrialNeeds(memory, host_s, 2 * gpu_s), gpu_of(device, 80), slots) <= number


@pytest.mark.parametrize("number", range(1, MOST_AT_ONCE + 1))
def test_ray_gives_a_gpu_to_as_many_trials_as_the_share_was_made_for(number: int) -> None:
    config = compose(None, None, {"dataset": "cifar10", "gpus_per_trial": gpu_share(number)}, [])
    assert number * round(config.resources.gpus, 4) <= 1  # Ray counts in ten-thousandths
    assert fitting_concurrency(config.resources, [(1000, 3)], "here") == 3 * number


@pytest.mark.parametrize("number", [3, 5, 6, 7, 10, 49])
def test_a_share_that_is_written_out_is_as_many_trials_as_it_says(number: int) -> None:
    config = compose(None, None, {"dataset": "cifar10", "gpus_per_trial": 1 / number}, [])
    assert fitting_concurrency(config.resources, [(1000, 1)], "here") == number


@pytest.mark.parametrize("optimizer", ["sgd", "nesterov", "adam", "adamw", "adadelta"])
def test_the_bytes_of_weights_gradients_and_states_are_those_of_the_tensors(optimizer: str) -> None:
    layout = ResNetLayout((1, 1), (8, 16))
    network = build(layout)
    recipe = small_recipe(optimizer=optimizer)
    steps = make_optimizer(network.parameters(), recipe, CPU)
    network(torch.zeros(2, 3, 8, 8)).sum().backward()
    steps.step()
    tensors = [*network.parameters(), *(p.grad for p in network.parameters())]
    tensors += [value for state in steps.state.values() for value in state.values()]
    counted = sum(t.numel() * 4 for t in tensors if torch.is_tensor(t) and t.dim())
    states = 1 if optimizer in ("sgd", "nesterov") else 2
    assert training_bytes(0, count_params(layout), 128, states, False) == 1.25 * counted


def test_what_a_space_needs_is_its_largest_layout_at_its_largest_batch() -> None:
    config = compose(
        None,
        None,
        {"dataset": "cifar10", "warm_start": ["cerberus-resnet24"], "space": {"layouts": ["2-2x16-32", "2-2x16-48"]}},
        ["recipe.batch_size=[32,256]", 'recipe.optimizer=["sgd","adam"]'],
    )
    needs = needs_of(config, BIG)
    largest = PRESETS["cerberus-resnet24"]
    expected = training_bytes(count_activation_bytes(largest), count_params(largest), 256, 2, True)
    assert needs.memory_bytes == expected + CONTEXT_BYTES + 50_000 * (3072 + 16)
    full = compose(None, None, {"dataset": "cifar10"}, ["recipe.precision=float32"])
    half = compose(None, None, {"dataset": "cifar10"}, [])
    assert needs_of(full, BIG).memory_bytes > 1.5 * needs_of(half, BIG).memory_bytes
    assert needs_of(full, BIG).gpu_s > needs_of(half, BIG).gpu_s
    assert needs_of(full, BIG).host_s == needs_of(half, BIG).host_s


@pytest.mark.parametrize("name", ["arora", "cerberus"])
def test_a_gpu_is_not_shared_for_a_few_percent(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    config = compose(ROOT / "configs" / f"{name}.toml", None, {}, [])
    assert trials_at_once(needs_of(config, H200), H200, 64) == 1
    for gain, trials in ((1.01, 1), (1.12, 1), (1.3, 2), (2.5, 3)):
        assert trials_at_once(TrialNeeds(10**9, gain * 0.00316, 0.00316), H200, 64) == trials


def test_the_step_of_a_recipe_has_its_kernels_and_its_arithmetic() -> None:
    def times(*changes: str) -> tuple[float, float]:
        config = compose(None, None, {"dataset": "cifar10"}, [f"recipe.{change}" for change in changes])
        step = Step.of(config.recipe.values_of, native=True)
        return step.host_s(25), step.gpu_s(25, 78e6, H200)

    host, gpu = times("batch_size=128")
    assert host == pytest.approx(510 * 10e-6)  # the kernels counted for ResNet-24's 25 convolutions
    assert times("batch_size=128", "optimizer=muon")[0] == pytest.approx(host + 825 * 10e-6)
    assert times("batch_size=128", "sam_radius=0.05")[0] == pytest.approx(2 * host)
    assert times("batch_size=128", "policy=autoaugment")[0] == pytest.approx(host + 100 * 10e-6)
    assert times("batch_size=[64,128,512]") == times("batch_size=128")
    assert times("batch_size=128", "precision=float32")[1] > gpu
    assert times("batch_size=128", 'precision=["bfloat16","float32"]')[1] > gpu
    assert times("batch_size=128", 'optimizer=["sgd","muon"]')[0] == host


def test_the_share_follows_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    small = {"space": {"max_params": 40_000, "stages": [2, 3], "blocks": [1, 2], "channels": [8, 12, 16, 24, 32]}}
    config = settled(small, monkeypatch, 80 * 10**9)
    assert config.gpus_per_trial == pytest.approx(1 / 4)
    assert settled(small | {"cpus_per_trial": 32}, monkeypatch, 80 * 10**9).resources.gpus == 0.5
    assert settled(small | {"cpus_per_trial": 16}, monkeypatch, 80 * 10**9, gpus=2).resources.gpus == 0.5
    assert settled({}, monkeypatch, 80 * 10**9).resources.gpus >= config.resources.gpus
    assert settled({}, monkeypatch, 4 * 10**9).resources.gpus == 1
    assert settled({}, monkeypatch, 0, gpus=0).resources.gpus == 0


def test_a_number_stays_and_a_cluster_needs_one() -> None:
    fixed = compose(None, None, {"gpus_per_trial": 0.25}, [])
    assert with_share(fixed) is fixed
    asked = compose(None, None, {"gpus_per_trial": "auto"}, [])
    assert RunConfig.model_validate_json(asked.model_dump_json()).gpus_per_trial == "auto"
    with pytest.raises(ResourceError, match="auto given for the cluster at head:6379; give the share as a number"):
        with_share(asked, "head:6379")
    with pytest.raises(ValueError, match="auto is not a number yet"):
        _ = asked.resources
    for wrong in ("half", -1, "nan", True, 2, 1.5, "inf"):
        with pytest.raises(ConfigError, match=r"gpus_per_trial: .* given; use 0 to 1, which is the share"):
            compose(None, None, {"gpus_per_trial": wrong}, [])
    assert compose(None, None, {"gpus_per_trial": "0.5"}, []).gpus_per_trial == 0.5


@pytest.mark.gpu
def test_the_memory_of_a_training_is_not_above_what_is_predicted() -> None:
    from tests.support.training_fixtures import small_set
    from trainables.training import Trainer

    layout, recipe = PRESETS["cerberus-resnet24"], Recipe(batch_size=128)
    data = small_set(train=256, val=32, shape=(32, 32, 3))
    torch.cuda.reset_peak_memory_stats()
    Trainer(layout, recipe, data, torch.device("cuda"), epochs=1).train_epoch()
    predicted = training_bytes(count_activation_bytes(layout), count_params(layout), 128, 1, True)
    assert torch.cuda.max_memory_reserved() <= predicted + CONTEXT_BYTES


def test_a_training_beside_others_tells_its_rate() -> None:
    rates: Queue[float | str] = Queue()
    concurrency._train(ResNetLayout((1, 1), (4, 4)).to_dict(), 16, 2, 1, "cpu", 0.05, Barrier(1), rates)  # type: ignore[arg-type]
    assert rates.get() > 0  # type: ignore[operator]


def test_the_best_number_is_the_one_of_the_best_median_of_ratios(monkeypatch: pytest.MonkeyPatch) -> None:
    rates = {1: iter([100.0, 10.0, 50.0]), 2: iter([90.0, 40.0, 60.0]), 4: iter([300.0, 5.0, 55.0])}
    monkeypatch.setattr(concurrency, "rate_together", lambda layout, n, threads, options: next(rates[n]))
    found = concurrency.main(["--device=cpu", "--at-once", "1", "2", "4", "--networks", concurrency.SMALL])
    assert found[concurrency.SMALL] == {
        "images_per_s": {1: 50.0, 2: 60.0, 4: 55.0},
        "over_1": {1: 1.0, 2: 1.2, 4: 1.1},
        "best": 2,
    }


@pytest.mark.search
def test_a_training_that_fails_beside_another_is_told(tmp_path: Path) -> None:
    options = concurrency._arguments(["--device=nowhere", "--seconds=0.1"])
    with pytest.raises(RuntimeError, match="1 at once: "):
        concurrency.rate_together(ResNetLayout((1, 1), (4, 4)), 1, 1, options)
