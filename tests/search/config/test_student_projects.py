"""What the two student projects did beside their grids: each fact is a key or a command of this project.

The grids, layouts and recipes themselves are in test_configs.py and test_presets.py.
"""

from __future__ import annotations

from model_zoo import PRESETS, ResNetLayout
from search.config import RunConfig, compose
from tests.support.cli import ROOT
from trainables.data.splits import VAL_FRACTION
from trainables.recipe import Recipe


def composed(name: str, *sets: str) -> RunConfig:
    return compose(ROOT / "configs" / f"{name}.toml", None, {}, sets)


def recipes(name: str) -> list[Recipe]:
    return list(composed(name).recipe.in_order())


def test_a_split_of_nine_to_one_and_padding_with_zeros() -> None:
    assert VAL_FRACTION == 0.1
    assert {(r.padding_mode, r.cutout, r.label_smoothing) for r in recipes("arora")} == {("zeros", 0, 0.0)}


def test_a_momentum_and_weight_decay_of_each_optimizer() -> None:
    assert {(r.optimizer, r.weight_decay) for r in recipes("arora")} == {
        ("adam", 0.0), ("sgd", 1e-4), ("adadelta", 1e-4)
    }  # fmt: skip
    assert {r.momentum for r in recipes("arora") if r.optimizer == "sgd"} == {0.9}
    (best,) = recipes("arora-one-cycle")
    assert (best.weight_decay, best.batch_size, best.head_init) == (1e-4, 256, "xavier-normal")
    assert composed("arora-one-cycle").max_epochs == 70


def test_a_filters_of_3_and_of_5() -> None:
    choices = ("stages=[3]", "kernels=[3,5]", "skip_kernels=[3]", "channels=[16,32,64]", "blocks=[1,2]", "min_params=0")
    space = compose(None, None, {"dataset": "cifar10"}, [f"space.{choice}" for choice in choices]).space
    seed = PRESETS["arora-resnet12"]
    for kernels in ((3, 3, 3), (5, 5, 5), (3, 5, 3)):
        layout = ResNetLayout(seed.blocks, seed.channels, seed.strides, kernels, skip_kernel=seed.skip_kernel)
        assert space.contains(layout)
        listed = compose(None, None, {"dataset": "cifar10", "space": {"layouts": [layout.layout_id]}}, []).space
        assert listed.listed_layouts == (layout,)


def test_b_batches_of_128_with_patience_5_and_rotations_of_10_degrees() -> None:
    facts = {(r.batch_size, r.patience_epochs, r.rotation_degrees, r.crop_padding, r.flip) for r in recipes("cerberus")}
    assert facts == {(128, 5, 10.0, 4, True)}
    assert {r.momentum for r in recipes("cerberus") if r.optimizer in ("sgd", "nesterov")} == {0.9}


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
