"""The dry run and the space's report: their figures against brute force and against a real search's arithmetic."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from model_zoo import count_flops, count_params
from search.config import compose
from search.enumeration import enumerate_layouts
from search.plan import expected_epochs, flops_text, make_plan
from search.space import SearchSpace
from search.space_report import SpaceReport, make_report
from tests.cli import run

SMALL = SearchSpace(stages=(2, 3), blocks=(1, 3), channels=(8, 16, 24), min_params=5_000, max_params=40_000)


def _odd_depth_sum(layout: object) -> bool:
    return sum(layout.blocks) % 2 == 1  # type: ignore[attr-defined]


@pytest.mark.parametrize("predicate", [None, _odd_depth_sum])
def test_the_report_equals_brute_force(predicate: object) -> None:
    space = SMALL.model_copy(update={"predicate": predicate})
    layouts = list(enumerate_layouts(space))
    params = [count_params(layout) for layout in layouts]
    report = make_report(space, (32, 32), samples=4, seed=0)
    assert report.feasible == len(layouts) == sum(report.counts)
    assert report.smallest["params"] == min(params)
    assert report.largest["params"] == max(params)
    for low, high, count in zip(report.edges[:-1], report.edges[1:], report.counts, strict=True):
        last = high == report.edges[-1]
        assert count == sum(low <= p < high or (last and p == high) for p in params)
    ids = {layout.layout_id: layout for layout in layouts}
    assert len({row["layout_id"] for row in report.samples}) == 4
    for row in report.samples:
        layout = ids[row["layout_id"]]
        assert (row["params"], row["flops"]) == (count_params(layout), count_flops(layout))
    assert SpaceReport.from_dict(json.loads(json.dumps(report.to_dict()))) == report


def test_samples_are_no_more_than_there_are_layouts() -> None:
    space = SMALL.model_copy(update={"stages": (2,), "blocks": (1, 1), "channels": (16,)})
    assert len(make_report(space, (32, 32), samples=50, seed=0).samples) == 1


@pytest.mark.parametrize(
    ("rungs", "factor", "trials", "expected"),
    [((4,), 3, 10, 40), ((1, 3, 9), 3, 9, 9 + 3 * 2 + 1 * 6), ((2, 4), 2, 1, 4)],
)
def test_expected_epochs(rungs: tuple[int, ...], factor: int, trials: int, expected: float) -> None:
    assert expected_epochs(rungs, factor, trials) == expected


@pytest.mark.parametrize(
    ("flops", "text"), [(2.5e6, "2.5 MFLOP"), (1e9, "1 GFLOP"), (1.234e13, "12.3 TFLOP"), (9.9e16, "99 PFLOP")]
)
def test_flops_text(flops: float, text: str) -> None:
    assert flops_text(flops) == text


def test_trials_are_no_more_than_the_space_has() -> None:
    config = compose(None, None, {"trials": 100}, ["space.stages=[2]", "space.blocks=[1,2]", "space.max_params=21000"])
    plan = make_plan(config)
    assert plan["trials"] == plan["space"]["feasible"] < 100


def test_the_dry_run_launches_nothing_and_its_json_is_the_plan(tmp_path: Path) -> None:
    outcome = run("search.run", "--dry-run", "--json", "--trials=9", cwd=tmp_path)
    assert outcome.returncode == 0, outcome.stderr
    assert json.loads(outcome.stdout) == make_plan(compose(None, None, {"trials": 9}, []))
    assert list(tmp_path.iterdir()) == []


def test_the_space_command_shows_what_the_report_says(tmp_path: Path) -> None:
    (tmp_path / "space.toml").write_text("max_params = 30_000\nstages = [2]\n")
    outcome = run("search.space", "--dataset=digits", "--space=space.toml", "--json", cwd=tmp_path)
    assert outcome.returncode == 0, outcome.stderr
    shown = json.loads(outcome.stdout)
    space = compose(None, tmp_path / "space.toml", {"dataset": "digits"}, []).space
    assert shown == make_report(space, (16, 16), 5, 0).to_dict()
    text = run("search.space", "--dataset=digits", "--space=space.toml", cwd=tmp_path).stdout
    assert f"{shown['total']:,} layouts, {shown['feasible']:,} feasible" in text
    assert shown["smallest"]["layout_id"] in text


def test_a_plan_for_a_larger_machine_is_a_note(tmp_path: Path) -> None:
    outcome = run("search.run", "--dry-run", "--cpus-per-trial=4096", cwd=tmp_path)
    assert outcome.returncode == 0
    assert outcome.stderr.startswith("note: cpus_per_trial: 4096 asked for, this machine has")
    assert "Nothing was launched" in outcome.stdout


@pytest.mark.parametrize(
    ("flag", "message"), [("--train-images=5000000", "train_images: 5,000,000"), ("--name=../evil", "name: '../evil'")]
)
def test_a_plan_refuses_what_the_run_would(tmp_path: Path, flag: str, message: str) -> None:
    outcome = run("search.run", "--dry-run", flag, cwd=tmp_path)
    assert outcome.returncode == 2
    assert message in outcome.stderr
    assert outcome.stderr.count("\n") == 1
