"""The training benchmark: both loops do the same work, the clock counts all of it, and neither needs Ray."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks import concurrency
from benchmarks.training import speed as training
from benchmarks.training.arms import NOISE, Arm, Job, noise, training_set
from benchmarks.training.phases import PHASES, PhaseClock
from benchmarks.training.reference_loop import ReferenceLoop
from benchmarks.training.roofline import MachineRates, step_seconds
from model_zoo import PRESETS, ResNetLayout, build, count_flops
from tests.support.cli import ROOT
from tests.support.training_fixtures import CPU, PLAIN, small_recipe
from trainables.recipe import Recipe
from trainables.training import Trainer

TINY = ResNetLayout((1, 1), (8, 16))
STEADY = {"schedule": "constant", "learning_rate": 0.02, "batch_size": 32}


def test_the_reference_takes_the_same_first_step_as_ours() -> None:
    data = training_set(
        NOISE, None, 32
    )  # one batch: the order cannot matter, and nothing is drawn without augmentation
    recipe = small_recipe(**STEADY | PLAIN | {"batch_size": 32, "label_smoothing": 0.1})
    ours = Trainer(TINY, recipe, data, CPU, epochs=1, seed=5)
    reference = ReferenceLoop(TINY, recipe, data, CPU, workers=0, seed=5)
    reports = ours.train_epoch(), reference.train_epoch()
    assert reports[0].train_loss == pytest.approx(reports[1].train_loss, rel=1e-5)
    for (name, one), other in zip(
        ours.network.state_dict().items(), reference.network.state_dict().values(), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5, msg=name)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the loader forks, as it does in such loops
def test_the_reference_augments_in_its_workers_and_counts_its_images() -> None:
    data = noise(96)
    loop = ReferenceLoop(TINY, Recipe(**STEADY), data, CPU, workers=1)
    assert loop.train_epoch().images == 96
    (first, _), (again, _) = loop.train_batches.dataset[3], loop.train_batches.dataset[3]
    assert first.shape == (3, 32, 32)
    assert not torch.equal(first, again)
    assert (first == 0).all(0).sum() >= 16  # a cutout of 8 x 8 at least in its quarter
    (plain, label), (same, _) = loop.val_batches.dataset[0], loop.val_batches.dataset[0]
    position = data.val_indices[0]
    pixels = torch.from_numpy(data.images[position]).permute(2, 0, 1) / 255
    mean, std = (torch.tensor(values)[:, None, None] for values in (data.mean, data.std))
    torch.testing.assert_close(plain, (pixels - mean) / std)
    assert label == data.labels[position]
    assert torch.equal(plain, same)


def test_the_phases_are_all_of_the_training_and_evaluation_is_none_of_them() -> None:
    trainer = Trainer(TINY, Recipe(**STEADY), noise(128), CPU, epochs=2)
    clock = PhaseClock(trainer.network, trainer.optimizer, CPU)
    for _ in range(2):
        clock.begin()
        report = trainer.train_epoch()
        spent = clock.seconds()
        assert tuple(spent) == PHASES
        assert all(seconds > 0 for seconds in spent.values())
        assert sum(spent.values()) <= report.train_time_s + report.eval_time_s
    clock.remove()
    before = len(clock._marks)
    trainer.network(torch.zeros(1, 3, 32, 32))
    assert len(clock._marks) == before


def test_a_clock_without_whole_steps_says_so() -> None:
    network = build(TINY)
    clock = PhaseClock(network, torch.optim.SGD(network.parameters()), CPU)
    clock.begin()
    with pytest.raises(RuntimeError, match="1 marks"):
        clock.seconds()


@pytest.mark.parametrize("name", ["arora-resnet12", "cerberus-resnet24", "arora-resnet10"])
def test_without_a_limit_of_bandwidth_the_roofline_is_three_forward_passes(name: str) -> None:
    layout = PRESETS[name]
    linear = 2 * layout.channels[-1] * layout.classes
    bound = step_seconds(layout, 32, 7, MachineRates(1e9, float("inf")))
    assert bound == pytest.approx(3 * 7 * (count_flops(layout) - linear) / 1e9)


def test_without_a_limit_of_arithmetic_the_roofline_is_the_traffic() -> None:
    layout, images = ResNetLayout((1, 1), (4, 4), (1, 1)), 2
    area = 32 * 32 * images
    maps = (3 + 4 + 4 * 8) * area  # the stem reads 3 channels and writes 4, four convolutions 4 and 4
    weights = 9 * (3 * 4 + 4 * 16)
    norms, additions = 5 * 8 * 4 * area, 2 * 5 * 4 * area
    expected = 3 * (maps + weights) + norms + additions
    assert step_seconds(layout, 32, images, MachineRates(float("inf"), 1.0), 2) == pytest.approx(2 * expected)


def test_larger_networks_have_fewer_images_in_full_batches() -> None:
    layouts = training.networks()
    assert training.images_of(layouts[training.SMALL], 2560, 128, "cpu") == 2560
    assert training.images_of(layouts[training.LARGE], 25600, 128, "cpu") == 896
    assert training.images_of(layouts[training.LARGE], 2560, 128, "cpu") == 512
    whole = training._arguments(["--device=cuda"]).images
    assert {training.images_of(layout, whole, 128, "cuda") for layout in layouts.values()} == {44_928}
    assert training._arguments(["--device=cpu"]).images == 2560
    assert concurrency._arguments(["--device=cuda"]).batches == 88
    assert concurrency._arguments(["--device=cpu"]).batches == 4


def test_loops_that_do_not_train_alike_are_refused() -> None:
    same = {"ours": {"images": 64, "train_loss": 1.0}, "reference": {"images": 64, "train_loss": 1.2}}
    training.require_alike(same, 64)
    with pytest.raises(SystemExit, match="trained on 64 images instead of 65"):
        training.require_alike(same, 65)
    for loss in (2.0, float("nan")):
        with pytest.raises(SystemExit, match="the loops' losses differ"):
            training.require_alike(same | {"reference": {"images": 64, "train_loss": loss}}, 64)


@pytest.mark.search
def test_a_loop_that_fails_in_its_process_tells_its_error() -> None:
    job = Job(TINY.to_dict(), Recipe(**STEADY).model_dump(), 1, "no-such-set", None, 32, 1, 0, "cpu")
    arm = Arm("ours", job)
    with pytest.raises(RuntimeError, match=r"(?s)ours: .*no-such-set"):
        arm.epoch()
    arm.close()


WITHOUT = """
import sys
for name in ("ray", "optuna", "pandas", "pyarrow", "duckdb", "plotly", "sklearn"):
    sys.modules[name] = None  # as if it were not installed
import benchmarks.training.speed as training
if __name__ == "__main__":
    import json
    print(json.dumps(training.main(sys.argv[1:])))
"""


@pytest.mark.search
def test_the_benchmark_runs_to_its_end_without_ray(tmp_path: Path) -> None:
    script = tmp_path / "alone.py"
    script.write_text(WITHOUT)
    flags = ["--threads=1", "--workers=0", "--images=32", "--batch=16", "--rounds=1", "--networks", training.SMALL]
    done = subprocess.run(
        [sys.executable, str(script), *flags, "--dataset=noise", "--device=cpu"],
        capture_output=True,
        text=True,
        timeout=240,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    small = found[training.SMALL]
    assert small["images"] == 64
    assert small["ours_over_reference"] > 0
    for arm in ("ours", "reference"):
        assert sum(small[arm]["shares"].values()) <= 1.01
        assert small[arm]["epoch_s"] == pytest.approx(50_000 / small[arm]["images_per_s"], rel=0.01)
    assert small["ours"]["of_roofline"] > 0
    assert found["machine"]["copy_gb_per_s"] > 0
