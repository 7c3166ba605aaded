"""The page of one trial: what it says is what the record and the closed forms say."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_zoo import ResNetLayout, count_activation_bytes, count_flops, count_params
from results import Record, read_record, read_run, write_tables
from results.console import run_app
from results.show import app
from results.trial_page.facts import trial_facts
from results.trial_page.rungs import rungs_of
from results.trial_page.text import LEVELS, PLAIN_LEVELS, page_text, sparkline
from search.config import RunConfig, compose
from search.config.views import Ladder
from search.layouts.enumeration import count_in_window
from search.runs.folder import read_config, write_run_file
from search.runs.rungs import AshaRungs
from tests.support.cli import ROOT
from tests.support.results_fixtures import report, run_trial, start_session, suggestion, write_run
from trainables.recipe import Recipe

RUNGS = {"max_epochs": 4, "grace_epochs": 2, "reduction_factor": 2}


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A storage with the run `alpha`: six trials in every status, and its configuration."""
    configuration = compose(None, None, {"dataset": "cifar10", "trials": 6, "seed": 3, **RUNGS}, ["cpus_per_trial=2"])
    write_run_file(tmp_path / "alpha", configuration, val_images=5000)
    write_run(tmp_path / "alpha")
    return tmp_path


@pytest.fixture
def shown(runs: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs the command in this process and returns its exit code, stdout and stderr."""

    def run(*arguments: str) -> tuple[int, str, str]:
        code = run_app(app, ["--storage", str(runs), *arguments])
        output = capsys.readouterr()
        return code, output.out, output.err

    return run


def test_without_a_number_it_is_the_leaderboards_first(shown: Any) -> None:
    code, page, stderr = shown("alpha")
    assert (code, stderr) == (0, "")
    first, second, *_ = page.splitlines()
    assert first == "alpha trial 2: completed after 4 epochs"
    assert second == (
        "validation accuracy 90.00% [89.1, 90.8] at epoch 4; test accuracy 88.00% at epoch 4; "
        "rank 1 of 3 in its run; seed 9"
    )


@pytest.mark.parametrize(
    ("trial", "sentence"),
    [
        (0, "completed after 4 epochs"),
        (3, "diverged after 2 epochs: loss is NaN at epoch 3"),
        (4, "failed after 0 epochs: OutOfMemoryError: [red]no memory[/red]"),
        (5, "suggested after 0 epochs; not ended yet"),
    ],
)
def test_it_says_how_a_trial_ended(trial: int, sentence: str, shown: Any) -> None:
    assert shown("alpha", str(trial))[1].splitlines()[0] == f"alpha trial {trial}: {sentence}"


def test_it_says_which_value_a_stopped_trial_would_have_needed(tmp_path: Path) -> None:
    write_run_file(tmp_path / "a", compose(None, None, RUNGS, []))
    with Record(tmp_path / "a") as record:
        start_session(record)
        for trial, value in enumerate((0.5, 0.75, 0.625)):
            run_trial(record, trial, {2: value, 4: 0.8})
        run_trial(record, 3, {2: 0.5}, "stopped")
    assert trial_facts(tmp_path, "a", 3).ending == (
        "stopped after 2 epochs: at rung 1 (epoch 2) it had 50.00% and needed 62.50%, "
        "the 50% quantile of the 3 trials that had reached that rung before it (ASHA)"
    )
    (tmp_path / "a" / "run.json").unlink()
    facts = trial_facts(tmp_path, "a", 3)
    assert facts.ending.endswith("it had 50.00%; what ASHA needed is not known without the run's run.json")
    assert (len(facts.notes), facts.command, facts.activation_bytes) == (1, None, None)
    assert "run.json is missing" in page_text(facts)


def test_patience_and_changed_limits_are_told_from_asha(tmp_path: Path) -> None:
    write_run_file(tmp_path / "a", compose(None, None, RUNGS, []))
    with Record(tmp_path / "a") as record:
        start_session(record)
        run_trial(record, 0, {2: 0.4, 4: 0.5})
        record.append("suggested", **suggestion(1, patience_epochs=2))
        for epoch, value in ((1, 0.7), (2, 0.9), (3, 0.8)):
            record.append("report", **report(1, epoch, 1 if epoch == 2 else None, value))
        record.append("report", **report(1, 4, 2, 0.9))
        record.append("ended", trial=1, status="stopped", error=None)
        run_trial(record, 2, {2: 0.45}, "stopped", params=10, patience_epochs=0)
        run_trial(record, 3, {2: 0.1}, "stopped", params=2_000, patience_epochs=0)
    assert trial_facts(tmp_path, "a", 1).ending == (
        "stopped after 4 epochs: recipe.patience_epochs is 2, and validation accuracy was last raised at epoch 2"
    )
    assert "needed 65.00%" in trial_facts(tmp_path, "a", 2).ending
    with Record(tmp_path / "a") as record:
        record.append("limits", min_params=1_500, max_params=5_000, max_epochs=15)
    assert trial_facts(tmp_path, "a", 2).ending == (
        "stopped after 2 epochs: its parameters are outside the run's present limits"
    )
    assert trial_facts(tmp_path, "a", 3).ending.endswith("the run's limits were changed since")


@given(
    values=st.lists(st.sampled_from([0.1, 0.2, 0.5, 0.7, math.nan]), min_size=1, max_size=12),
    outside=st.sets(st.integers(0, 11)),
    factor=st.integers(2, 4),
)
def test_what_was_needed_is_what_the_search_decides_by(values: list[float], outside: set[int], factor: int) -> None:
    rows = [
        {"time_s": float(trial), "trial": trial, "epoch": epoch, "rung": rung, "val_accuracy": value}
        for trial, value in enumerate(values)
        for epoch, rung in ((1, None), (2, 1))
    ]
    inside = set(range(len(values))) - outside
    asha = AshaRungs(Ladder((2, 4), factor))
    for trial in sorted(inside):
        (reached,) = rungs_of(trial, rows, inside, factor, 4)
        passes = reached.needed is None or reached.val_accuracy >= reached.needed
        assert asha.goes_on(trial, 2, values[trial]) == passes
        assert reached.rung == 1


def test_the_layout_is_drawn_with_its_costs(shown: Any, runs: Path) -> None:
    facts = json.loads(shown("alpha", "1", "--json")[1])
    trial = facts["trial"]
    layout = ResNetLayout.from_dict(read_record(runs / "alpha").trials[1].layout)
    assert [part["name"] for part in facts["parts"]] == ["stem", "stage 1", "stage 2", "stage 3", "head"]
    assert sum(part["params"] for part in facts["parts"]) == count_params(layout)
    assert sum(part["flops"] for part in facts["parts"]) == count_flops(layout)
    assert [part["size"] for part in facts["parts"]] == [[32, 32], [32, 32], [16, 16], [8, 8], [1, 1]]
    assert facts["activation_bytes"] == count_activation_bytes(layout) > sum(p["saved_bytes"] for p in facts["parts"])
    (row,) = [row for row in read_run(runs / "alpha").trials.to_pylist() if row["trial"] == 1]
    assert trial == row
    page = shown("alpha", "1")[1]
    assert "  stage 2  1 basic block 3x3, stride 2   32 x 16x16" in page
    assert f"{count_params(layout):,}" in page


def test_its_configuration_trains_the_same_again(shown: Any, runs: Path, tmp_path: Path) -> None:
    code, text, _ = shown("alpha", "2", "--toml")
    assert code == 0
    (tmp_path / "trial.toml").write_text(text)
    config = compose(tmp_path / "trial.toml", None, {}, [])
    trial = read_record(runs / "alpha").trials[2]
    original = RunConfig.model_validate(json.loads((runs / "alpha" / "run.json").read_text())["config"])
    assert config.recipe.fixed == Recipe(**trial.settings)
    assert config.space.layouts == (trial.layout_id,)
    assert count_in_window(config.space.model_copy(update={"max_params": 10**7})) == 1
    assert (config.trials, config.replicates, config.seed) == (1, 1, trial.seed)
    for name in ("rungs", "data_arguments", "cpus_per_trial", "gpus_per_trial", "compile"):
        assert getattr(config, name) == getattr(original, name)
    page = shown("alpha", "2")[1]
    recipe = page[page.index("  [recipe]") : page.index("\n\nCurve")]
    assert tomllib.loads(recipe)["recipe"] == tomllib.loads(text)["recipe"]
    assert f"python -m results.show alpha 2 --storage {runs} --toml > trial-2.toml" in page


def test_a_replicate_is_trained_again_on_its_own_validation_split(tmp_path: Path) -> None:
    flags = {"dataset": "cifar10", "replicates": 4, "validation_splits": 3, "split_seed": 5, "seed": 7, **RUNGS}
    write_run_file(tmp_path / "a", compose(None, None, flags, ["validation_share=0.2"]))
    original = RunConfig.model_validate(json.loads((tmp_path / "a" / "run.json").read_text())["config"])
    with Record(tmp_path / "a") as record:
        start_session(record)
        for trial, accuracy in enumerate((0.5, 0.75, 0.875, 0.25)):
            run_trial(record, trial, {2: accuracy, 4: accuracy})  # with the seeds 7 to 10
        run_trial(record, 4, {2: 0.8}, blocks=(2, 2))
    for trial, split in enumerate((5, 6, 7, 5)):
        (tmp_path / "trial.toml").write_text(trial_facts(tmp_path, "a", trial).toml)
        again = compose(tmp_path / "trial.toml", None, {}, [])
        assert again.data_arguments == original.data_arguments_of(7 + trial)
        assert again.data_arguments["split_seed"] == split
    ranks = [trial_facts(tmp_path, "a", trial).rank for trial in range(5)]
    assert ranks == [2, 2, 2, 2, 1]  # a mean of 59% on three splits, and 80% on one
    assert trial_facts(tmp_path, "a", None).trial["trial"] == 4


def test_a_run_without_the_newer_keys_is_trained_again_as_it_was(runs: Path) -> None:
    path = runs / "alpha" / "run.json"
    stored = json.loads(path.read_text())
    for key in ("validation_share", "test_share", "val_folder", "validation_splits", "all_data"):
        del stored["config"][key]
    path.write_text(json.dumps(stored))
    (runs / "trial.toml").write_text(trial_facts(runs, "alpha", 2).toml)
    assert compose(runs / "trial.toml", None, {}, []).data_arguments == read_config(runs / "alpha").data_arguments


def test_a_training_on_all_images_stays_one(tmp_path: Path) -> None:
    flags = {"max_epochs": 4, "grace_epochs": 4, "all_data": True, "confirm": 0, "space": {"layouts": ["1-2x16-32"]}}
    write_run_file(tmp_path / "a", compose(None, None, flags, ["space.max_params=100000"]))
    with Record(tmp_path / "a") as record:
        start_session(record)
        run_trial(record, 0, {4: math.nan}, extras="+in1", epochs=4, schedule="linear", patience_epochs=0)
    (tmp_path / "trial.toml").write_text(trial_facts(tmp_path, "a", 0).toml)
    assert compose(tmp_path / "trial.toml", None, {}, []).all_data


def test_a_confirmed_trial_says_so(tmp_path: Path) -> None:
    write_run_file(tmp_path / "a", compose(None, None, RUNGS, []))
    with Record(tmp_path / "a") as record:
        start_session(record)
        run_trial(record, 0, {2: 0.6, 4: 0.8})
        run_trial(record, 1, {2: 0.5}, "stopped")
        record.append("confirmed", trials=[1], epochs=4)
        for epoch in (3, 4):
            record.append("report", **report(1, epoch, 2 if epoch == 4 else None, 0.9))
        record.append("ended", trial=1, status="completed", error=None)
    facts = trial_facts(tmp_path, "a", 1)
    assert facts.ending == "completed after 4 epochs, trained on after ASHA had stopped it"
    assert [(rung.val_accuracy, rung.needed) for rung in facts.rungs] == [(0.5, 0.6), (0.9, None)]


def test_json_has_everything_and_no_number_that_json_lacks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Record(tmp_path / "a") as record:
        start_session(record)
        run_trial(record, 0, {2: math.nan, 4: 0.5}, val_loss=math.inf)
    assert run_app(app, [str(tmp_path / "a"), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert [row["val_accuracy"] for row in facts["epochs"]] == [0.99, None, 0.99, 0.5]
    assert (facts["trial"]["val_loss"], facts["time"]["epochs"], facts["time"]["train_s"]) == (None, 4, 8.0)


def test_a_run_of_tables_alone_is_shown(runs: Path, shown: Any) -> None:
    before = shown("alpha", "2")[1]
    write_tables(runs / "alpha", read_record(runs / "alpha"), (runs / "alpha" / "record.jsonl").stat().st_size)
    (runs / "alpha" / "record.jsonl").unlink()
    assert shown("alpha", "2")[1] == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("alpha", "6"), "error: trial: 6 given, but alpha has 6 trials, numbered from 0\n"),
        (("beta",), "error: no run 'beta'; "),
        (("alpha", "--json", "--toml"), "error: --json and --toml given; use one at a time\n"),
    ],
)
def test_mistakes_are_one_line(arguments: tuple[str, ...], message: str, shown: Any) -> None:
    code, output, stderr = shown(*arguments)
    assert (code, output, stderr.count("\n")) == (2, "", 1)
    assert stderr.startswith(message)


def test_a_run_without_a_rung_has_no_best_trial(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Record(tmp_path / "a") as record:
        start_session(record)
        run_trial(record, 0, {}, "failed", error="boom")
    assert run_app(app, [str(tmp_path / "a")]) == 2
    assert capsys.readouterr().err == (
        "error: a: no trial has reached a rung, so there is no best one; name one of its trials\n"
    )


@given(values=st.lists(st.floats(0, 1) | st.just(math.nan), max_size=200), width=st.integers(1, 80))
def test_a_sparkline_keeps_order_ends_and_width(values: list[float], width: int) -> None:
    line = sparkline(values, width)
    assert len(line) == min(width, len(values))
    if values:
        last = values[-1]
        assert (line[-1] == " ") == math.isnan(last)
    if len(values) <= width:
        heights = [LEVELS.find(letter) for letter in line]
        finite = [(value, height) for value, height in zip(values, heights, strict=True) if not math.isnan(value)]
        assert [height for _, height in sorted(finite)] == sorted(height for _, height in finite)


def test_a_terminal_without_blocks_gets_plain_characters(runs: Path) -> None:
    page = page_text(trial_facts(runs, "alpha", 2), "ascii")
    assert page.isascii()
    assert f"  {sparkline([0.99, 0.65, 0.99, 0.9], 72, PLAIN_LEVELS)}\n" in page


def test_it_loads_neither_torch_nor_ray(runs: Path) -> None:
    code = (
        "import sys; from results.show import main; sys.argv = sys.argv[1:]; code = main(); "
        "print(code, *sorted(sys.modules), file=sys.stderr)"
    )
    command = [sys.executable, "-W", "error", "-c", code, "show", str(runs / "alpha")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    zero, *modules = done.stderr.split()
    assert zero == "0"
    assert not {"torch", "ray", "optuna"} & set(modules)
