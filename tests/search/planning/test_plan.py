"""The dry run: what it says of space, recipes, trials and cost, and that it launches nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from model_zoo import PRESETS, ResNetLayout, count_flops
from model_zoo.complexity import count_norms
from results import Record, RunState
from search.config import RunConfig, compose
from search.config.composition import validated
from search.config.views import Ladder
from search.gpus import Gpu, Gpus
from search.layouts.report import make_report
from search.planning.plan import make_plan
from search.planning.plan_text import hours_text
from search.planning.preparation import prepare
from search.runs.folder import write_run_file
from search.runs.warm_start import first_candidates
from search.text import flops_text
from tests.support.cli import run
from tests.support.results_fixtures import report, run_trial, start_session, suggestion


def planned(config: RunConfig, storage: Path) -> dict[str, Any]:
    """The plan of a search that is not started."""
    prepared = prepare(config, storage / "new", RunState(), storage, None, say=lambda _: None, only_plan=True)
    return make_plan(prepared, storage)


@pytest.mark.parametrize(
    ("rungs", "factor", "trials", "expected"),
    [((4,), 3, 10, 40), ((2, 4), 2, 1, 4), ((2, 4), 2, 0, 0)],
)
def test_the_epochs_of_trials_that_are_never_stopped_are_counted(
    rungs: tuple[int, ...], factor: int, trials: int, expected: float
) -> None:
    assert Ladder(rungs, factor).expected_epochs(trials) == expected


@pytest.mark.parametrize(
    ("flops", "text"), [(2.5e6, "2.5 MFLOP"), (1e9, "1 GFLOP"), (1.234e13, "12.3 TFLOP"), (9.9e16, "99 PFLOP")]
)
def test_flops_text(flops: float, text: str) -> None:
    assert flops_text(flops) == text


def test_trials_are_no_more_than_the_space_has(tmp_path: Path) -> None:
    config = compose(None, None, {"trials": 100}, ["space.stages=[2]", "space.blocks=[1,2]", "space.max_params=21000"])
    plan = planned(config, tmp_path)
    assert plan["trials"] == plan["space"]["feasible"] < 100 // 6
    assert plan["disk"]["total_bytes"] > plan["disk"]["checkpoints"] * plan["disk"]["checkpoint_bytes"] > 0
    searched = validated(config.model_dump(mode="json") | {"replicates": 3, "recipe": {"cutout": [0, 8]}})
    plan = planned(searched, tmp_path)
    assert plan["trials"] == plan["space"]["feasible"] * plan["recipes"] * 3
    assert plan["recipes"] == 2
    endless = validated(config.model_dump(mode="json") | {"recipe": {"learning_rate": {"low": 0.1, "high": 0.2}}})
    plan = planned(endless, tmp_path)
    assert (plan["trials"], plan["recipes"]) == (100, None)


def test_a_plan_names_what_is_fixed_of_the_recipe_and_read(tmp_path: Path) -> None:
    sets = ["recipe.optimizer=adam", "recipe.momentum=0.5", "recipe.learning_rate=[0.1,0.2]", "recipe.dropout=0.25"]
    fixed = dict(planned(compose(None, None, {"dataset": "cifar10"}, sets), tmp_path)["fixed"])
    usual = {"weight_decay": "0.0005", "batch_size": "128", "schedule": "rung-annealed"}
    assert fixed == {"optimizer": "adam", "dropout": "0.25"} | usual


def test_a_plan_names_what_is_tried_first_and_what_is_left_out(tmp_path: Path) -> None:
    config = compose(None, None, {"dataset": "cifar10", "warm_start": list(PRESETS)}, [])
    first, left_out = first_candidates(config, tmp_path)
    assert planned(config, tmp_path)["warm_start"] == [f"first: {layout.layout_id}" for layout, _ in first] + left_out


def test_the_dry_run_launches_nothing_and_its_json_is_the_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = run("search.run", "--dry-run", "--json", "--trials=9", cwd=tmp_path)
    assert outcome.returncode == 0, outcome.stderr
    config = compose(None, None, {"trials": 9}, [])
    expected = planned(config, Path("runs"))  # a relative path, as the command's
    assert json.loads(outcome.stdout) == expected
    assert list(tmp_path.iterdir()) == []


def test_the_space_command_shows_what_the_report_says(tmp_path: Path) -> None:
    (tmp_path / "space.toml").write_text("max_params = 30_000\nstages = [2]\n")
    outcome = run("search.space", "--dataset=digits", "--space=space.toml", "--json", cwd=tmp_path)
    assert outcome.returncode == 0, outcome.stderr
    shown = json.loads(outcome.stdout)
    space = compose(None, tmp_path / "space.toml", {"dataset": "digits"}, []).space
    assert shown == make_report(space, 5, 0).to_dict()
    text = run("search.space", "--dataset=digits", "--space=space.toml", cwd=tmp_path).stdout
    assert f"{shown['total']:,} layouts, {shown['feasible']:,} feasible" in text
    assert shown["smallest"]["layout_id"] in text


def test_hours_come_from_earlier_runs_of_the_same_data_on_this_machine(tmp_path: Path) -> None:
    config = compose(None, None, {"trials": 20, "concurrency": 1}, [])
    plan = planned(config, tmp_path)
    assert plan["hours"] is None
    assert plan["hours_why"].startswith(f"{tmp_path} has no earlier digits run on this machine")
    earlier = {"train_images": 100, "trials": 1}
    others: dict[str, dict[str, Any]] = {
        "same": {},
        "other-data": {"dataset": "mnist"},
        "other-cores": {"cpus_per_trial": 2},
        "other-device": {"gpus_per_trial": 0.5},
        "other-machine": {},
        "damaged": {},
    }
    for name, changes in others.items():
        write_run_file(tmp_path / name, compose(None, None, earlier | changes, []))
        with Record(tmp_path / name) as record:
            start_session(record)
            run_trial(record, 0, {3: 0.5}, params=1_000)  # 40,000 FLOPs a pass, 3 epochs of 2.5 s
    elsewhere = tmp_path / "other-machine" / "run.json"
    elsewhere.write_text(elsewhere.read_text().replace('"cpu": "', '"cpu": "another '))
    (tmp_path / "damaged" / "run.json").write_text("{")
    plan = planned(config, tmp_path)
    pace = 40_000 * (3 * 100 + 144) / 2.5  # FLOPs a second: 100 images trained on, 144 of 1,438 validated on
    assert plan["hours"] == pytest.approx(plan["training_flops"] / pace / 3600)
    assert plan["hours_range"][0] < plan["hours"] < plan["hours_range"][1]
    assert plan["hours_why"] == "1 at a time, at the speed of same"
    quicker = compose(None, None, {"trials": 20, "concurrency": 1, "cpus_per_trial": 4096}, [])
    assert planned(quicker, tmp_path)["hours_why"] == "this machine lacks the resources that a trial needs"
    shown = run("search.run", "--dry-run", "--trials=20", "--concurrency=1", f"--storage={tmp_path}", cwd=tmp_path)
    assert f"{hours_text(plan)}\n" in shown.stdout


def test_hours_on_a_gpu_come_from_runs_with_its_share_on_such_gpus_by_kernels_and_flops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def with_gpu(
        name: str = "H200", memory: int = 10**11, processors: int = 132, cuda: str = "13.2", cudnn: int = 92600
    ) -> None:
        found = Gpus(usable=(Gpu(name, memory, memory, processors, True),), present=1, cuda=cuda, cudnn=cudnn)
        for module in ("machine", "planning.resources", "planning.cost", "planning.gpu_sharing"):
            monkeypatch.setattr(f"search.{module}.gpus", lambda: found)

    fixed = {"batch_size": 128, "optimizer": "sgd", "policy": "none", "sam_radius": 0.0, "precision": "auto"}
    given = {"dataset": "cifar10", "trials": 1, "max_epochs": 3, "confirm": 0, "gpus_per_trial": 1, "recipe": fixed}
    config = compose(None, None, given | {"space": {"layouts": ["2-2x16-32"]}}, [])
    runs: dict[str, tuple[float, dict[str, Any]]] = {
        "same": (1.0, {}),
        "shared": (0.125, {}),
        "other-gpu": (1.0, {"name": "A100"}),
        "other-memory": (1.0, {"memory": 8 * 10**10}),
        "other-cuda": (1.0, {"cuda": "12.8"}),
        "other-cudnn": (1.0, {"cudnn": 91002}),
    }
    for name, (share, gpu) in runs.items():
        with_gpu(**gpu)
        write_run_file(tmp_path / name, config)
        with Record(tmp_path / name) as record:
            start_session(record, gpus=share)
            run_trial(record, 0, {3: 0.5}, blocks=(1, 2), **fixed)  # three epochs of 2.5 s
    with_gpu()
    plan = planned(config, tmp_path)
    assert plan["hours_why"] == "1 at a time, at the speed of same"
    # Both wait for the host, so the time goes by kernels: two convolutions more, whatever the FLOPs.
    earlier, now = (60 + 18 * count_norms(ResNetLayout(blocks, (16, 32)))[0] for blocks in ((1, 2), (2, 2)))
    assert plan["hours"] == pytest.approx(3 * 2.5 * now / earlier / 3600)
    with_gpu(processors=1)  # a GPU so slow that it is waited for: now the FLOPs count
    assert planned(config, tmp_path)["hours"] != pytest.approx(plan["hours"], rel=0.01)


@pytest.mark.parametrize(
    ("hours", "text"), [(66.3, "66 hours"), (0.5, "30 minutes"), (0.005, "18 seconds"), (1e-5, "0.036 seconds")]
)
def test_the_time_has_a_unit_that_can_be_read(hours: float, text: str) -> None:
    alone = {"hours": hours, "hours_range": [hours, hours], "hours_why": "as fast as others"}
    assert hours_text(alone) == f"about {text} on this machine with the start of Ray, as fast as others"
    number = text.split()[0]
    told = hours_text(alone | {"hours_range": [hours, 2 * hours]})
    assert told.startswith(f"about {text} ({number} to {2 * float(number):.2g}) on this machine")


def test_the_start_of_trials_and_sessions_is_part_of_the_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = compose(None, None, {"trials": 20, "concurrency": 1}, [])
    hours = {}
    for name, start_s, session_s in (("bare", 0.0, 0.0), ("slow", 10.0, 7.0)):
        write_run_file(tmp_path / name / "run", compose(None, None, {"trials": 2}, []))
        clock = iter([100.0, 100.0, 101.0, 104.0, 104.0, 112.0 + start_s, 120.0 + session_s])
        with Record(tmp_path / name / "run") as record:
            monkeypatch.setattr("time.time", lambda clock=clock: next(clock))
            start_session(record)
            record.append("suggested", **suggestion(0))
            record.append("started", trial=0, session=1)
            record.append("report", **(report(0, 1, None) | {"train_time_s": 2.0, "eval_time_s": 1.0}))
            record.append("report", **(report(0, 2, 1) | {"train_time_s": 6.0, "eval_time_s": 2.0}))
            record.append("ended", trial=0, status="completed", error=None)
            wall_s = 112.0 + start_s - 101.0 + session_s
            record.append("session-ended", session=1, reason="done", wall_time_s=wall_s)
            monkeypatch.undo()
        hours[name] = planned(config, tmp_path / name)["hours"]
    assert (hours["slow"] - hours["bare"]) * 3600 == pytest.approx(20 * 10 + 7)


def test_a_plan_says_what_ends_it_early(tmp_path: Path) -> None:
    assert planned(compose(None, None, {}, []), tmp_path)["budgets"] == []
    limited = compose(None, None, {"time_budget_s": 90, "epoch_budget": 2000}, [])
    assert planned(limited, tmp_path)["budgets"] == [
        "a session ends after 1:30 at the latest",
        "the search ends after 2,000 epochs in total",
    ]


def test_a_plan_for_a_larger_machine_is_a_note(tmp_path: Path) -> None:
    outcome = run("search.run", "--dry-run", "--cpus-per-trial=4096", cwd=tmp_path)
    assert outcome.returncode == 0
    assert outcome.stderr.startswith("note: cpus_per_trial: 4096 requested, but this machine has")
    assert "Nothing was launched" in outcome.stdout


@pytest.mark.parametrize(
    ("flag", "message"), [("--train-images=5000000", "train_images: 5,000,000"), ("--name=../evil", "name: '../evil'")]
)
def test_a_plan_refuses_what_the_run_would(tmp_path: Path, flag: str, message: str) -> None:
    outcome = run("search.run", "--dry-run", flag, cwd=tmp_path)
    assert outcome.returncode == 2
    assert message in outcome.stderr
    assert outcome.stderr.count("\n") == 1


def test_a_second_pass_at_every_step_costs_twice_the_training(tmp_path: Path) -> None:
    plain, sam = (planned(compose(None, None, {}, sets), tmp_path) for sets in ([], ["recipe.sam_radius=0.05"]))
    assert 1.8 < sam["training_flops"] / plain["training_flops"] < 2


NARROW = ["space.layouts=[1-1x8-16]"]
"""A space of one layout, whose FLOPs at a size are known exactly."""


@pytest.mark.parametrize(
    ("sets", "parts"),
    [
        ([], {16: 1.0}),
        (["recipe.first_image_size=8"], {8: 0.25, 12: 0.25, 16: 0.5}),
        (["recipe.first_image_size=12", "recipe.resizing_share=0.9"], {12: 0.9, 16: 0.1}),
        (["recipe.first_image_size=[0,8]", "recipe.resizing_share=0.8"], {8: 0.2, 12: 0.2, 16: 0.6}),
    ],
)
def test_small_images_cost_their_flops_and_validation_those_of_the_full_size(
    sets: list[str], parts: dict[int, float], tmp_path: Path
) -> None:
    config = compose(None, None, {"train_images": 1_000}, [*NARROW, *sets])
    (layout,) = config.space.listed_layouts
    training = 3 * 1_000 * sum(part * count_flops(layout, side) for side, part in parts.items())
    plan = planned(config, tmp_path)
    assert plan["flops_per_epoch"] == pytest.approx(training + 144 * count_flops(layout, 16))
    assert plan["training_flops"] == pytest.approx(plan["flops_per_epoch"] * plan["expected_epochs"])


def test_the_speed_of_an_earlier_run_is_by_the_flops_of_its_small_images(tmp_path: Path) -> None:
    config = compose(None, None, {"trials": 1, "concurrency": 1}, NARROW)
    (layout,) = config.space.listed_layouts
    write_run_file(tmp_path / "earlier", compose(None, None, {"train_images": 100, "trials": 1}, NARROW))
    recipe = suggestion(0)["recipe"] | {"first_image_size": 8, "resizing_share": 0.5}
    own = {"layout": layout.to_dict(), "flops": count_flops(layout, 16), "recipe": recipe}
    with Record(tmp_path / "earlier") as record:
        start_session(record)
        record.append("suggested", **suggestion(0) | own)
        record.append("started", trial=0, session=1)
        record.append("report", **report(0, 3, 1) | {"train_time_s": 7.0, "eval_time_s": 0.5})
        record.append("ended", trial=0, status="completed", error=None)
    flops = {side: count_flops(layout, side) for side in (8, 12, 16)}
    training = 3 * 100 * (0.25 * flops[8] + 0.25 * flops[12] + 0.5 * flops[16])
    pace = 3 * (training + 144 * flops[16]) / 7.5
    plan = planned(config, tmp_path)
    assert plan["hours"] == pytest.approx(plan["training_flops"] / pace / 3600, rel=1e-3)


def test_a_dry_run_refuses_a_run_to_reuse_that_is_not_there(tmp_path: Path) -> None:
    outcome = run("search.run", "--dry-run", "--reuse=nosuch", "--json", cwd=tmp_path)
    assert outcome.returncode == 2
    assert "no run 'nosuch'" in outcome.stderr
