"""Early stopping: the epoch with which patience ends a training, what its report says, and what survives a death."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from results import Record
from search.driver.searcher import REPORT_FIELDS
from tests.support.results_fixtures import start_session, suggestion
from tests.support.training_fixtures import small_recipe, small_trainer, timeless, trained
from trainables.ray_trainable import TrialTrainable
from trainables.training import EpochReport, Trainer

EPOCHS = 12
RUNGS = (2, 4, EPOCHS)
UNSTEADY: dict[str, Any] = {"schedule": "constant", "learning_rate": 0.5, "batch_size": 35}


def until_finished(trainer: Trainer, folder: Path | None = None) -> list[EpochReport]:
    """The reports up to the last, each saved as `folder`/epoch-N."""
    reports = []
    while not trainer.finished:
        reports.append(trainer.train_epoch())
        if folder is not None:
            trainer.save(folder / f"epoch-{trainer.epoch}")
    return reports


def last_epoch(accuracies: list[float], patience: int) -> int:
    """The epoch with which a training ends: the first one with no rise in it and the `patience` - 1 before it."""
    for epoch in range(1, len(accuracies) + 1):
        earlier, latest = accuracies[: max(epoch - patience, 0)], accuracies[max(epoch - patience, 0) : epoch]
        if earlier and max(latest) <= max(earlier):
            return epoch
    return len(accuracies)


@pytest.fixture(scope="module")
def untiring() -> list[EpochReport]:
    """The reports of a training whose accuracy goes up and down, without patience."""
    return trained(small_trainer(small_recipe(**UNSTEADY), epochs=EPOCHS, rungs=RUNGS))


def test_without_patience_all_epochs_are_trained(untiring: list[EpochReport]) -> None:
    assert [report.epoch for report in untiring] == list(range(1, EPOCHS + 1))
    accuracies = [report.val_accuracy for report in untiring]
    assert last_epoch(accuracies, 1) < EPOCHS  # else the tests below would test nothing


@pytest.mark.parametrize("patience", range(1, EPOCHS + 1))
def test_a_training_ends_when_so_many_epochs_brought_no_better_accuracy(
    patience: int, untiring: list[EpochReport]
) -> None:
    trainer = small_trainer(small_recipe(**UNSTEADY, patience_epochs=patience), epochs=EPOCHS, rungs=RUNGS)
    reports = until_finished(trainer)
    last = last_epoch([report.val_accuracy for report in untiring], patience)
    assert len(reports) == trainer.epoch == last
    for report, expected in zip(reports, untiring, strict=False):
        of_a_rung = {"rung": None, "answers": None}  # the epoch with which patience ends is one
        assert timeless(report) | of_a_rung == timeless(expected) | of_a_rung
    with pytest.raises(ValueError, match=f"epoch {last + 1}: the training ends with epoch {last}; raise its"):
        trainer.train_epoch()


def test_the_best_accuracy_is_the_highest_so_far_and_its_epoch_the_first_that_had_it(
    untiring: list[EpochReport],
) -> None:
    accuracies = [report.val_accuracy for report in untiring]
    for report in untiring:
        so_far = accuracies[: report.epoch]
        assert (report.best_accuracy, report.best_epoch) == (max(so_far), so_far.index(max(so_far)) + 1)


@pytest.mark.parametrize("patience", [1, 2, 3])
@pytest.mark.parametrize("rungs", [(12,), (1, 3, 12), (2, 3, 4, 5, 6, 12)])
def test_the_last_epoch_is_a_rung_above_all_before_it(
    patience: int, rungs: tuple[int, ...], untiring: list[EpochReport]
) -> None:
    recipe = small_recipe(**UNSTEADY, patience_epochs=patience)
    reports = until_finished(small_trainer(recipe, epochs=EPOCHS, rungs=rungs))
    ends = sorted({rung for rung in rungs if rung < len(reports)} | {len(reports)})
    expected = {epoch: number for number, epoch in enumerate(ends, start=1)}
    assert {report.epoch: report.rung for report in reports if report.rung is not None} == expected


@pytest.mark.parametrize("patience", [2, 3])
def test_a_resumed_training_ends_with_the_same_epoch(patience: int, tmp_path: Path) -> None:
    recipe = small_recipe(**UNSTEADY, patience_epochs=patience)
    whole = small_trainer(recipe, epochs=EPOCHS, rungs=RUNGS)
    reports = [timeless(report) for report in until_finished(whole, tmp_path)]
    assert patience < len(reports) < EPOCHS
    for epoch in range(1, len(reports) + 1):
        resumed = small_trainer(recipe, epochs=EPOCHS, rungs=RUNGS)
        resumed.load(tmp_path / f"epoch-{epoch}")
        assert resumed.finished == (epoch == len(reports))
        assert [timeless(report) for report in until_finished(resumed)] == reports[epoch:]


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The configuration of a trial that its patience ends before its second rung."""
    monkeypatch.setattr("ray.tune.trainable.trainable.DEFAULT_STORAGE_PATH", str(tmp_path / "ray"))
    options = UNSTEADY | {"learning_rate": 1e-9, "optimizer": "sgd", "patience_epochs": 2}
    return {
        "trial": 0,
        "layout": {"blocks": [1, 1], "channels": [8, 16], "in_channels": 1},
        "recipe": small_recipe(**options).model_dump(),
        "seed": 5,
        "rungs": [1, EPOCHS],
        "data": {"name": "digits", "data_dir": str(tmp_path / "data"), "train_images": 70},
        "checkpoint": str(tmp_path / "trial.safetensors"),
        "recorded_epochs": 0,
        "threads": 1,
        "accelerator": False,
        "compile": "auto",
    }


def results(trainable: TrialTrainable) -> list[dict[str, Any]]:
    found = [trainable.train()]
    while not found[-1]["done"]:
        found.append(trainable.train())
    return found


def test_a_trial_whose_patience_ends_is_stopped_and_the_record_ranks_it_by_its_last_epoch(
    config: dict[str, Any], tmp_path: Path
) -> None:
    found = results(TrialTrainable(config))
    assert len(found) < EPOCHS
    assert [result["outcome"] for result in found] == [None] * (len(found) - 1) + ["stopped"]
    assert [result["rung"] for result in found] == [1] + [None] * (len(found) - 2) + [2]
    with Record(tmp_path / "run") as record:
        start_session(record)
        record.append("suggested", **suggestion(0))
        for result in found:
            record.append("report", trial=0, session=1, **{name: result[name] for name in REPORT_FIELDS})
        record.append("ended", trial=0, status=found[-1]["outcome"], error=found[-1]["error"])
        trial = record.state.trials[0]
    assert (trial.status, trial.rung, trial.rung_epoch) == ("stopped", 2, len(found))
    assert trial.val_accuracy == found[-1]["val_accuracy"]


@pytest.mark.parametrize("unrecorded", [0, 1])
def test_a_stopped_trial_whose_ending_was_not_written_ends_again_without_training(
    unrecorded: int, config: dict[str, Any], tmp_path: Path
) -> None:
    last = results(TrialTrainable(config))[-1]
    content = Path(config["checkpoint"]).read_bytes()
    (again,) = results(TrialTrainable(config | {"recorded_epochs": last["epoch"] - unrecorded}))
    assert {name: again[name] for name in (*REPORT_FIELDS, "done", "outcome", "error")} == {
        name: last[name] for name in (*REPORT_FIELDS, "done", "outcome", "error")
    }
    assert Path(config["checkpoint"]).read_bytes() == content


def test_a_trial_that_died_before_its_patience_ended_is_stopped_at_the_same_epoch(
    config: dict[str, Any], tmp_path: Path
) -> None:
    dead = TrialTrainable(config)
    dead.train()
    middle = tmp_path / "middle.safetensors"
    shutil.copy(config["checkpoint"], middle)
    whole = results(dead)
    successor = TrialTrainable(config | {"recorded_epochs": 1, "checkpoint": str(middle)})
    found = results(successor)
    assert [(result["epoch"], result["rung"], result["outcome"], result["val_accuracy"]) for result in found] == [
        (result["epoch"], result["rung"], result["outcome"], result["val_accuracy"]) for result in whole
    ]
