"""Images that were moved or removed: a run takes them from their new place, and predictions need none."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from search.errors import ResumeError
from search.launch import resume_run
from search.runs import read_config
from tests.support.shapes import write_shapes
from tests.support.trained_run import evaluated, write_trained_run
from trainables.errors import DatasetError


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run trained on `shapes`, which have been moved to `moved`; `other` has other images."""
    write_shapes(tmp_path / "shapes", 10)
    write_shapes(tmp_path / "other", 10, seed=1)
    data = {"dataset": str(tmp_path / "shapes"), "data_dir": str(tmp_path / "cache"), "image_size": 16}
    write_trained_run(tmp_path / "runs" / "run", "batch_size=8", "precision=float32", trials=2, **data)  # type: ignore[arg-type]
    (tmp_path / "shapes").rename(tmp_path / "moved")
    return tmp_path / "runs" / "run"


def resumed(run: Path, dataset: Path) -> int:
    flags = {"dataset": str(dataset)}
    return resume_run(run.parent, "run", flags, [], None, quiet=True, json=False, dry_run=True, say=lambda _: None)


def test_the_test_set_is_measured_where_the_images_are_now(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, stderr = evaluated(capsys, run)
    assert (code, stderr.count("\n")) == (2, 1)
    assert "shapes' is neither a known data set nor an existing folder" in stderr
    for wrong, message in (("other", "has other images than run was started with"), ("none", "nor an existing folder")):
        before = (run / "run.json").read_bytes()
        code, _, stderr = evaluated(capsys, run, "--dataset", tmp_path / wrong)
        assert (code, stderr.count("\n")) == (2, 1)
        assert message in stderr
        assert (run / "run.json").read_bytes() == before
    assert evaluated(capsys, run, "--dataset", tmp_path / "moved")[0] == 0
    assert read_config(run).dataset == str(tmp_path / "moved")
    assert [*json.loads((run / "run.json").read_text())["changes"][0]] == ["time_s", "dataset"]
    assert evaluated(capsys, run)[0] == 0


def test_a_resume_takes_them_too_and_no_others(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert resumed(run, tmp_path / "moved") == 0
    assert f"dataset {tmp_path / 'shapes'} -> {tmp_path / 'moved'}" in capsys.readouterr().out.replace("\n", "")
    with pytest.raises(ResumeError, match="the images have changed since run was started"):
        resumed(run, tmp_path / "other")
    with pytest.raises(DatasetError, match="neither a known data set nor an existing folder"):
        resumed(run, tmp_path / "none")
    with pytest.raises(ResumeError, match="accuracies on different images cannot be ranked together"):
        resume_run(run.parent, "run", {"dataset": "digits"}, [], None, quiet=True, json=False, dry_run=True, say=print)


def test_predictions_and_exports_need_no_images(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "new.npy", np.random.default_rng(0).integers(0, 256, (9, 16, 16, 1), dtype=np.uint8))
    shutil.rmtree(tmp_path / "cache")
    new, csv = tmp_path / "new.npy", tmp_path / "out.csv"
    assert evaluated(capsys, run, "--predict", new, "--output", csv)[0] == 0
    assert {line.split(",")[2] for line in csv.read_text().splitlines()[1:]} <= {
        *("bar", "circle", "cross", "ring", "square", "triangle")
    }
    assert evaluated(capsys, run, "--export", tmp_path / "best.pt2")[0] == 0
    assert not (tmp_path / "cache").exists()
    predicted = csv.read_text()
    (tmp_path / "moved").rename(tmp_path / "shapes")
    assert evaluated(capsys, run, "--predict", new, "--output", csv, "--force")[0] == 0
    assert csv.read_text() == predicted
