"""Results of an earlier run stand for trainings of another: identical ones alone, decided as if they were trained."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from model_zoo import ResNetLayout
from results import Record, rank_trials, read_record
from search.config import RunConfig, compose
from search.errors import ConfigError
from search.runs.folder import write_run_file
from search.runs.reuse import ReusableResults
from tests.support.cli import TINY, events, run
from tests.support.results_fixtures import report, start_session
from trainables.recipe import Recipe

DATA: dict[str, object] = {"sha256": "0" * 64, "train_images": 1000}
LAYOUT = ResNetLayout((1, 2), (8, 16), in_channels=1)
TIMES = ["run", "train_time_s", "eval_time_s", "started_s", "ended_s", "reused"]


def configured(**changes: Any) -> RunConfig:
    return compose(None, None, {"max_epochs": 9, "grace_epochs": 1, "reduction_factor": 3, **changes}, [])


def earlier(
    storage: Path,
    config: RunConfig,
    epochs: int,
    status: str | None,
    layout: ResNetLayout = LAYOUT,
    seed: int = 0,
    **recipe: Any,
) -> dict[str, Path]:
    """A run "old" of one trial that trained so many epochs; its name and folder."""
    folder = storage / "old"
    write_run_file(folder, config, data=DATA)
    used = Recipe(**recipe)
    with Record(folder) as record:
        start_session(record)
        record.append(
            "suggested",
            trial=0,
            layout=layout.to_dict(),
            layout_id=layout.layout_id,
            params=10_000,
            flops=1,
            depth=layout.depth,
            recipe=used.model_dump() | dict.fromkeys(used.unread) | {"epochs": config.max_epochs},
            seed=seed,
            proposal={},
        )
        for epoch in range(1, epochs + 1):
            rung = 1 + config.rungs.index(epoch) if epoch in config.rungs else None
            record.append("report", **report(0, epoch, rung, epoch / 100))
        if status is not None:
            record.append("ended", trial=0, status=status, error="loss nan" if status == "diverged" else None)
    return {"old": folder}


def epochs_found(
    config: RunConfig, sources: dict[str, Path], data: dict[str, object] = DATA, seed: int = 0, **recipe: Any
) -> int:
    found = ReusableResults(config, data, sources).find(LAYOUT, Recipe(**recipe), seed)
    return len(found.reports) if found else 0


def test_the_same_training_is_found_with_its_rungs(tmp_path: Path) -> None:
    config = configured()
    sources = earlier(tmp_path, config, 9, "completed")
    found = ReusableResults(config, DATA, sources).find(LAYOUT, Recipe(), 0)
    assert found is not None
    assert found.origin == "old/0"
    assert [(r.epoch, r.rung) for r in found.reports if r.rung] == [(1, 1), (3, 2), (9, 3)]
    assert [r.val_accuracy for r in found.reports] == [epoch / 100 for epoch in range(1, 10)]


@pytest.mark.parametrize(
    "recipe", [{"seed": 1}, {"learning_rate": 0.05}, {"batch_size": 64}, {"schedule": "cosine"}], ids=str
)
def test_another_seed_or_recipe_is_another_training(recipe: dict[str, Any], tmp_path: Path) -> None:
    config = configured()
    assert epochs_found(config, earlier(tmp_path, config, 9, "completed"), **recipe) == 0


def test_another_layout_is_another_training(tmp_path: Path) -> None:
    config = configured()
    other = ResNetLayout((1, 2), (8, 16), in_channels=1, conv_bias=True)
    assert epochs_found(config, earlier(tmp_path, config, 9, "completed", layout=other)) == 0


@pytest.mark.parametrize(
    ("changes", "epochs"),
    [
        ({"max_epochs": 27}, 9),  # rungs 1, 3, 9, 27: the same so far
        ({"max_epochs": 3}, 3),
        ({"max_epochs": 5}, 3),  # rungs 1, 3, 5: from the fourth epoch on the rate falls faster
        ({"grace_epochs": 3}, 0),
        ({"reduction_factor": 2}, 1),
    ],
    ids=str,
)
def test_reports_hold_as_far_as_the_rungs_agree(changes: dict[str, Any], epochs: int, tmp_path: Path) -> None:
    sources = earlier(tmp_path, configured(), 9, "completed")
    assert epochs_found(configured(**changes), sources) == epochs


@pytest.mark.parametrize(("max_epochs", "epochs"), [(9, 9), (27, 0), (3, 0)])
def test_a_cosine_holds_for_its_own_length_alone(max_epochs: int, epochs: int, tmp_path: Path) -> None:
    cosine = {"recipe": {"schedule": "cosine"}}
    sources = earlier(tmp_path, configured(**cosine), 9, "completed", schedule="cosine")
    assert epochs_found(configured(max_epochs=max_epochs, **cosine), sources, schedule="cosine") == epochs


def test_a_trial_that_diverged_would_diverge_again(tmp_path: Path) -> None:
    config = configured()
    found = ReusableResults(config, DATA, earlier(tmp_path, config, 2, "diverged")).find(LAYOUT, Recipe(), 0)
    assert found is not None
    assert (len(found.reports), found.diverged) == (2, "loss nan")


@pytest.mark.parametrize(
    ("changes", "data"),
    [
        ({"split_seed": 1}, DATA),
        ({}, DATA | {"sha256": "1" * 64}),
        ({"train_images": 500}, DATA | {"train_images": 500}),
    ],
    ids=["split", "images", "subset"],
)
def test_other_images_are_refused(changes: dict[str, Any], data: dict[str, object], tmp_path: Path) -> None:
    sources = earlier(tmp_path, configured(), 9, "completed")
    with pytest.raises(ConfigError, match="old was trained on other images"):
        ReusableResults(configured(**changes), data, sources)


@pytest.mark.search
def test_a_search_over_known_trainings_trains_nothing_and_comes_to_the_same(tmp_path: Path) -> None:
    flags = (*TINY, "--concurrency=1", "--quiet")
    first = run("search.run", *flags, "--name=first", cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    again = run("search.run", *flags, "--name=again", "--reuse=first", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert "\n4 of 4 trials reused results of first.\n" in again.stdout
    assert "reused results" not in first.stdout
    runs = tmp_path / "runs"
    boards = [rank_trials(runs, [name]).drop(columns=TIMES) for name in ("first", "again")]
    pd.testing.assert_frame_equal(*boards)
    assert [event for event in events(runs / "again") if event["event"] == "started"] == []
    reused = pd.read_parquet(runs / "again" / "trials.parquet")["reused"]
    assert reused.tolist() == [f"first/{number}" for number in range(4)]
    kept = [sorted(path.name for path in (runs / name / "checkpoints").iterdir()) for name in ("first", "again")]
    assert kept[0] == kept[1]
    assert read_record(runs / "again").epochs == 0

    # two more trials are trained, and the source may be gone by then
    shutil.rmtree(runs / "first")
    more = run("search.run", "--resume=again", "--trials=5", cwd=tmp_path)
    assert more.returncode == 0, more.stderr
    assert "note: reuse: no run 'first'" in more.stderr
    state = read_record(runs / "again")
    assert {trial.status for trial in state.trials.values()} <= {"completed", "stopped"}
    assert state.trials[4].reused is None
    assert state.epochs == state.trials[4].epochs > 0


@pytest.mark.search
def test_a_trial_that_was_stopped_earlier_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    """Alone in its rungs it is let on, where others had stopped it before."""
    flags = (*TINY, "--concurrency=1", "--quiet", "--name=first")
    assert run("search.run", *flags, cwd=tmp_path).returncode == 0
    runs = tmp_path / "runs"
    before = read_record(runs / "first")
    longer = run(
        "search.run",
        *TINY,
        "--concurrency=1",
        "--quiet",
        "--name=longer",
        "--reuse=first",
        "--max-epochs=8",
        "--trials=1",
        cwd=tmp_path,
    )
    assert longer.returncode == 0, longer.stderr
    state = read_record(runs / "longer")
    known = before.reports[0]
    assert [r.val_accuracy for r in state.reports[0][: len(known)]] == [r.val_accuracy for r in known]
    assert state.trials[0].status == "completed"
    assert [r.epoch for r in state.reports[0]] == list(range(1, 9))
    assert [r.reused for r in state.reports[0]] == ["first/0"] * len(known) + [None] * (8 - len(known))
