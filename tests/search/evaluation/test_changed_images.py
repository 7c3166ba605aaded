"""A network meets the images it was trained on or none: a folder that has changed since is refused, not measured on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from results import read_record
from tests.support.trained_run import evaluated, write_trained_run
from trainables.data import load_training_set
from trainables.data.test_set import load_test_set


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """An image folder without a test set, whose images and labels are noise: only those trained on can be known."""
    draw = np.random.default_rng(0)
    for number in range(100):
        path = tmp_path / "pictures" / f"class{number % 2}" / f"{number:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw.integers(0, 256, (16, 16), dtype=np.uint8)).save(path)
    return tmp_path / "pictures"


@pytest.fixture
def trained(pictures: Path, tmp_path: Path) -> Path:
    """A run whose trial was trained on them."""
    data = {"dataset": str(pictures), "data_dir": str(tmp_path / "cache"), "image_size": 16}
    write_trained_run(tmp_path / "run", "precision=float32", "batch_size=8", **data)
    return tmp_path / "run"


def add_picture(pictures: Path) -> None:
    Image.new("L", (16, 16)).save(pictures / "class0" / "000a.png")


def rename_class(pictures: Path) -> None:
    (pictures / "class0").rename(pictures / "class2")


def remove_picture(pictures: Path) -> None:
    (pictures / "class1" / "001.png").unlink()


def hashes(images: np.ndarray) -> set[bytes]:
    return {image.tobytes() for image in images}


def test_one_more_picture_puts_trained_ones_into_the_test_set(pictures: Path, tmp_path: Path) -> None:
    trained_on = hashes(load_training_set(str(pictures), tmp_path, image_size=16).images)
    assert not trained_on & hashes(load_test_set(str(pictures), tmp_path, image_size=16).images)
    add_picture(pictures)
    assert len(trained_on & hashes(load_test_set(str(pictures), tmp_path, image_size=16).images)) > 10


def forget_format(run: Path) -> None:
    """Leave `run` as a version wrote it that did not store what the networks expect of images."""
    stored = json.loads((run / "run.json").read_text())
    del stored["image_format"]
    (run / "run.json").write_text(json.dumps(stored))


@pytest.mark.parametrize("change", [add_picture, rename_class, remove_picture])
@pytest.mark.parametrize("what", ["test", "predict", "export"])
def test_a_folder_that_has_changed_is_refused(
    what: str, change: object, trained: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    forget_format(trained)
    np.save(tmp_path / "new.npy", np.zeros((3, 16, 16), np.uint8))
    output = tmp_path / "output.pt2"
    flags = {
        "test": [],
        "predict": ["--predict", tmp_path / "new.npy", "--output", output],
        "export": ["--export", output],
    }
    record = (trained / "record.jsonl").read_bytes()
    assert callable(change)
    change(pictures)
    code, shown, stderr = evaluated(capsys, trained, *flags[what])
    assert (code, shown, stderr.count("\n")) == (2, "", 1)
    assert f"dataset: {pictures} has changed since trial 0 was trained; restore its images" in stderr
    assert (trained / "record.jsonl").read_bytes() == record
    assert not output.exists()


def test_a_folder_that_is_as_it_was_again_is_measured_on(
    trained: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    add_picture(pictures)
    assert evaluated(capsys, trained)[0] == 2
    (pictures / "class0" / "000a.png").unlink()
    code, shown, stderr = evaluated(capsys, trained)
    assert (code, stderr) == (0, "")
    assert f"test accuracy {read_record(trained).trials[0].test_accuracy:.2%}" in shown


@pytest.mark.parametrize("change", [add_picture, rename_class, remove_picture])
def test_a_test_folder_that_has_changed_is_refused(
    change: object, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = {"dataset": str(tmp_path / "parts"), "data_dir": str(tmp_path / "cache"), "image_size": 16}
    for part in ("train", "test"):
        shutil.copytree(pictures, tmp_path / "parts" / part)
    write_trained_run(tmp_path / "run", "precision=float32", "batch_size=8", **data)
    record = (tmp_path / "run" / "record.jsonl").read_bytes()
    assert callable(change)
    if change is rename_class:  # the labels of the test images change places, and no image does
        zero, one = (tmp_path / "parts" / "test" / f"class{number}" for number in range(2))
        for source, target in ((zero, tmp_path / "aside"), (one, zero), (tmp_path / "aside", one)):
            source.rename(target)
    else:
        change(tmp_path / "parts" / "test")
    code, shown, stderr = evaluated(capsys, tmp_path / "run")
    assert (code, shown, stderr.count("\n")) == (2, "", 1)
    assert "the test images of" in stderr
    assert "have changed since the run was started; restore them" in stderr
    assert (tmp_path / "run" / "record.jsonl").read_bytes() == record
