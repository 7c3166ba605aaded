"""What the measurement on the test set says: images, interval, classes, confusion matrix, openings."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from sklearn.metrics import confusion_matrix

from results import Record, read_record, read_run
from results.ranking.intervals import wilson_interval
from search.evaluation.kept_network import load_kept
from search.evaluation.report import test_text as text_of
from search.runs.checkpoint_files import checkpoint_path
from tests.support.results_fixtures import report, suggestion
from tests.support.trained_run import UNSTEADY, evaluated, write_trained_run
from trainables.augmentation.batch import normalise
from trainables.data.test_set import load_test_set


@pytest.fixture
def run(tmp_path: Path) -> Path:
    write_trained_run(tmp_path / "a", *UNSTEADY)
    return tmp_path / "a"


def predictions(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    test = load_test_set("digits")
    kept = load_kept(checkpoint_path(folder, 0), torch.device("cpu"))
    kept.network.eval()
    with torch.inference_mode():
        x = normalise(torch.from_numpy(test.images), torch.tensor(test.mean), torch.tensor(test.std))
        return test.labels, kept.network(x).argmax(1).numpy()


def test_the_matrix_is_scikit_learns(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, shown, _ = evaluated(capsys, run, "--json")
    assert code == 0
    facts = json.loads(shown)
    labels, predicted = predictions(run)
    assert facts["confusion"] == confusion_matrix(labels, predicted, labels=range(10)).tolist()
    assert facts["test_images"] == len(labels) == sum(row["images"] for row in facts["classes"])
    assert facts["test_accuracy"] == pytest.approx(float((labels == predicted).mean()))
    assert facts["test_interval"] == list(wilson_interval(facts["test_accuracy"], len(labels)))
    for label, row in enumerate(facts["classes"]):
        of_class = predicted[labels == label]
        assert (row["class"], row["images"], row["correct"]) == (str(label), len(of_class), (of_class == label).sum())
        assert row["interval"] == list(wilson_interval(row["accuracy"], row["images"]))
    (trial,) = read_run(run).trials.to_pylist()
    assert trial["test_images"] == len(labels)


@pytest.mark.parametrize("suffix", [".csv", ".json"])
def test_the_matrix_is_written_also_when_the_trial_was_measured_before(
    run: Path, suffix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluated(capsys, run)
    output = tmp_path / f"confusion{suffix}"
    assert evaluated(capsys, run, "--confusion", str(output))[0] == 0
    expected = read_record(run).trials[0].tests[6].confusion
    assert expected is not None
    if suffix == ".json":
        assert json.loads(output.read_text())["confusion"] == expected
    else:
        header, *rows = csv.reader(output.read_text().splitlines())
        assert header == ["true class", *map(str, range(10))]
        assert [[int(cell) for cell in row[1:]] for row in rows] == expected
    code, _, stderr = evaluated(capsys, run, "--confusion", str(output))
    assert (code, "exists" in stderr, "--force" in stderr) == (2, True, True)
    assert evaluated(capsys, run, "--confusion", str(output), "--force")[0] == 0


def test_openings_are_counted_and_choosing_by_them_is_said_to_be_no_test(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "test set has been opened once." in evaluated(capsys, run)[1]
    assert "test set has been opened once." in evaluated(capsys, run)[1]  # shown again, not opened again
    with Record(run) as record:
        record.append("suggested", **suggestion(1))
        record.append("started", trial=1, session=1)
        record.append("report", **report(1, 1, 1, 0.999))
        record.append("ended", trial=1, status="completed", error=None)
        record.append("evaluated", trial=1, epoch=1, test_accuracy=0.9, test_loss=0.1)
    shown = evaluated(capsys, run, "--trial", "0")[1]
    assert "opened 2 times" in shown
    assert "Trials 0 and 1 were measured" in shown
    assert "validation chose is 1." in shown
    old = evaluated(capsys, run)[1]  # the event of an older version, without a matrix
    assert "test accuracy 90.00% with the weights of epoch 1" in old


def test_a_matrix_that_an_older_version_did_not_keep_is_refused_in_one_line(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Record(run) as record:
        record.append("evaluated", trial=0, epoch=6, test_accuracy=0.9, test_loss=0.1)
    code, _, stderr = evaluated(capsys, run, "--confusion", str(tmp_path / "c.csv"))
    assert code == 2
    assert "kept no matrix" in stderr
    assert not (tmp_path / "c.csv").exists()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--confusion", "matrix.txt"), "use a file that ends in .csv or .json"),
        (("--json", "--export", "a.pt2"), "--json is for the test set; leave it out with --export"),
        (("--confusion", "a.csv", "--predict", "."), "--confusion is for the test set; leave it out with --predict"),
    ],
)
def test_mistakes_open_no_test_set(
    run: Path, flags: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, stderr = evaluated(capsys, run, *flags)
    assert code == 2
    assert said in stderr
    assert read_record(run).test_openings == 0


def test_many_classes_show_the_commonest_mistakes() -> None:
    names = [f"c{i}" for i in range(30)]
    matrix = [[5 if i == j else 0 for j in range(30)] for i in range(30)]
    matrix[3][7] = 4
    classes = [
        {"class": name, "images": sum(row), "accuracy": 5 / sum(row)} for name, row in zip(names, matrix, strict=True)
    ]
    facts = {
        **{"run": "r", "trial": 0, "layout_id": "x", "params": 1, "flip": False, "best_epoch": False, "epoch": 1},
        **{"test_accuracy": 0.9, "test_images": 154, "val_accuracy": 0.9, "val_images": None, "classes": classes},
        **{"confusion": matrix, "openings": 1, "measured_trials": [0], "best_by_validation": 0},
    }
    text = io.StringIO()
    Console(width=80, file=text).print(text_of(facts))
    assert "4 images of c3 taken for c7" in text.getvalue()
