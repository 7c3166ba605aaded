"""Predictions for images without labels: those of the network that was validated, in the order of the names."""

from __future__ import annotations

import csv
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from search.evaluation.kept_network import load_kept
from search.runs import read_config
from search.runs.checkpoint_files import checkpoint_path
from tests.support.cli import ROOT, run
from tests.support.imports import named
from tests.support.trained_run import UNSTEADY, evaluated, write_trained_run
from tests.support.training_fixtures import CPU
from trainables.augmentation.batch import normalise
from trainables.data import TrainingSet, load_training_set
from trainables.data.images import decode
from trainables.data.unlabelled import natural_key, open_unlabelled
from trainables.errors import DatasetError

SHAPE = (16, 16, 1)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose trial keeps the weights of its best epoch, which is not the last."""
    folder = tmp_path_factory.mktemp("runs") / "trained"
    write_trained_run(folder, *UNSTEADY, "keep_weights=best")
    return folder


def digits(folder: Path) -> TrainingSet:
    return load_training_set(**read_config(folder).data_arguments)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        table = csv.DictReader(file)
        found = list(table)
        assert table.fieldnames == ["id", "label", "class", "probability"]
    return found


def test_the_validation_images_get_the_answers_that_were_validated(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = digits(trained)
    images, truth = data.images[data.val_indices], data.labels[data.val_indices]
    (tmp_path / "images").mkdir()
    for number, image in enumerate(images):
        Image.fromarray(image[:, :, 0]).save(tmp_path / "images" / f"img{number}.png")
    np.save(tmp_path / "all.npy", images)
    np.save(tmp_path / "grey.npy", images[..., 0])
    record = (trained / "record.jsonl").read_bytes()
    for given in ("images", "all.npy", "grey.npy"):
        output = tmp_path / f"{given}.csv"
        code, shown, stderr = evaluated(capsys, trained, "--predict", tmp_path / given, "--output", output)
        assert (code, stderr) == (0, "")
        assert shown.startswith(f"{output}: {len(images)} predictions of trained trial 0, ")
    written = rows(tmp_path / "images.csv")
    assert [row["id"] for row in written] == [f"img{number}" for number in range(len(images))]  # img2 before img10
    labels = np.array([int(row["label"]) for row in written])
    kept = load_kept(checkpoint_path(trained, 0), CPU)
    logits = kept.network.eval()(
        normalise(torch.from_numpy(np.array(images)), torch.tensor(data.mean), torch.tensor(data.std))
    )
    np.testing.assert_array_equal(labels, logits.argmax(1).numpy())
    shares = [float(row["probability"]) for row in written]
    np.testing.assert_allclose(shares, logits.softmax(1).max(1).values.detach().numpy(), atol=1e-6)
    assert [row["class"] for row in written] == [data.class_names[label] for label in labels]
    best = max(report.val_accuracy for report in reports(trained))
    assert float(np.mean(labels == truth)) == best > 0.25
    others = [{**row, "id": str(number)} for number, row in enumerate(written)]
    assert rows(tmp_path / "all.npy.csv") == rows(tmp_path / "grey.npy.csv") == others
    assert (trained / "record.jsonl").read_bytes() == record


def test_a_header_of_two_names_is_that_of_a_file_of_ids_and_numbers(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "new.npy", digits(trained).images[:20])
    assert evaluated(capsys, trained, "--predict", tmp_path / "new.npy", "--output", tmp_path / "whole.csv")[0] == 0
    whole = rows(tmp_path / "whole.csv")
    for header, names in (("ID,Labels", "ID,Labels"), (" id , my label", "id,my label"), ('a"b,c', '"a""b",c')):
        output = tmp_path / "two.csv"
        given = ("--predict", tmp_path / "new.npy", "--output", output, "--header", header, "--force")
        assert evaluated(capsys, trained, *given)[0] == 0
        assert output.read_text() == "".join(
            f"{line}\n" for line in (names, *(f"{row['id']},{row['label']}" for row in whole))
        )


@pytest.mark.parametrize("header", ["ID", "", ",", "ID,", "ID,Labels,Class", "ID,ID", "ID,La\nbels"])
def test_a_header_that_is_not_two_names_is_refused_before_any_work(
    header: str, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ("--predict", tmp_path / "absent", "--output", tmp_path / "two.csv", "--header", header)
    code, _, stderr = evaluated(capsys, trained, *given)
    assert code == 2
    assert stderr.strip().endswith("use two different names and a comma, such as ID,Labels")
    assert len(stderr.strip().splitlines()) == 1
    assert not (tmp_path / "two.csv").exists()


def test_a_header_without_predictions_is_refused(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, stderr = evaluated(capsys, trained, "--header", "ID,Labels")
    assert (code, stderr.strip().endswith("--header is for --predict; give both, or neither")) == (2, True)


def reports(folder: Path) -> list[Any]:
    from results import read_record

    return read_record(folder).reports[0]


def test_the_command_predicts_with_the_test_set_out_of_reach(trained: Path, tmp_path: Path) -> None:
    stored = tmp_path / "data"
    load_training_set("digits", stored)
    for name in ("test_images.npy", "test_labels.npy"):
        (stored / "digits" / name).unlink()
        (stored / "digits" / name).mkdir()  # whatever opens it fails
    np.save(tmp_path / "new.npy", np.zeros((3, 16, 16), np.uint8))
    moved = tmp_path / "moved"
    (moved / "checkpoints").mkdir(parents=True)
    for name in ("run.json", "record.jsonl", "checkpoints/trial-00000.safetensors"):
        (moved / name).write_bytes((trained / name).read_bytes())
    text = (moved / "run.json").read_text()
    (moved / "run.json").write_text(text.replace('"data_dir": null', f'"data_dir": "{stored}"'))
    outcome = run("search.evaluate", "moved", "--storage=.", "--predict=new.npy", cwd=tmp_path)
    assert (outcome.returncode, outcome.stderr) == (0, "")
    assert len(rows(tmp_path / "predictions.csv")) == 3


def test_the_predictions_import_no_test_set() -> None:
    assert "trainables.data.test_set" in named(ROOT / "search" / "evaluation" / "measure.py")
    for name in ("search/evaluation/predict.py", "search/evaluation/kept_network.py", "trainables/data/unlabelled.py"):
        assert not any("test_set" in module for module in named(ROOT / name))


def test_pictures_of_any_size_and_colour_become_the_data_sets_own(tmp_path: Path) -> None:
    draw = np.random.default_rng(1)
    for name, size in (("a2.png", (40, 20, 3)), ("a10.JPG", (16, 16, 3)), ("a1.png", (9, 31, 3))):
        Image.fromarray(draw.integers(0, 256, size, dtype=np.uint8)).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("not an image")
    (tmp_path / ".hidden.png").write_text("not an image")
    given = open_unlabelled(tmp_path, SHAPE)
    assert given.ids == ("a1", "a2", "a10")
    (batch,) = given.batches(8)
    for image, name in zip(batch, ("a1.png", "a2.png", "a10.JPG"), strict=True):
        np.testing.assert_array_equal(image, decode(tmp_path / name, SHAPE))
    assert [len(part) for part in given.batches(2)] == [2, 1]


def test_names_are_sorted_by_the_numbers_in_them() -> None:
    names = ["b", "a10", "a9b2", "a9b10", "9", "10", "09", "a"]
    assert sorted(names, key=natural_key) == ["09", "9", "10", "a", "a9b2", "a9b10", "a10", "b"]


def test_what_cannot_be_predicted_is_one_line(trained: Path, tmp_path: Path) -> None:
    shown = "uint8 (N, 16, 16, 1) or (N, 16, 16)"
    arrays: dict[str, tuple[Any, str]] = {
        "wide": (np.zeros((2, 16, 17), np.uint8), f"holds uint8 (2, 16, 17), but the network takes {shown}"),
        "colour": (np.zeros((2, 16, 16, 3), np.uint8), f"holds uint8 (2, 16, 16, 3), but the network takes {shown}"),
        "float": (np.zeros((2, 16, 16, 1)), "holds float64 (2, 16, 16, 1)"),
        "empty": (np.zeros((0, 16, 16), np.uint8), "holds no images; give at least one"),
        "objects": (
            np.array([{}], dtype=object),
            "not a complete array of numbers (Array can't be memory-mapped: Python objects",
        ),
    }
    for name, (array, message) in arrays.items():
        np.save(tmp_path / f"{name}.npy", array)
        assert message in refusal(tmp_path / f"{name}.npy")
    whole = (tmp_path / "wide.npy").read_bytes()
    (tmp_path / "cut.npy").write_bytes(whole[:100])
    assert "not a complete array of numbers" in refusal(tmp_path / "cut.npy")
    for name, content in (("test_batch", pickle.dumps({b"data": b""})), ("zipped.npz", b"PK\x03\x04"), ("none", b"")):
        (tmp_path / name).write_bytes(content)
        message = refusal(tmp_path / name)
        assert "not a .npy file; pickles such as CIFAR's batches are not read, because loading them runs" in message
    assert "neither a folder nor a file; check the path" in refusal(tmp_path / "absent")
    folder = tmp_path / "folder"
    (folder / "class").mkdir(parents=True)
    assert "no images; put files such as 1.png" in refusal(folder)
    assert "there, or give one of its folders" in refusal(folder)
    Image.new("L", (8, 8)).save(folder / "1.png")
    Image.new("L", (8, 8)).save(folder / "1.jpg")
    assert "1.jpg and 1.png have the same id; rename one of them" in refusal(folder)
    (folder / "1.jpg").unlink()
    (folder / "1.png").write_bytes((folder / "1.png").read_bytes()[:40])
    assert "no image is readable (1 of 1 files left out: 1.png (" in refusal(folder)


def test_a_broken_file_and_an_odd_name_do_not_stop_the_others(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new = tmp_path / "new"
    new.mkdir()
    for name in (b"1.png", b"caf\xe9.png", b"3.png"):
        Image.new("L", (16, 16), len(name)).save(new / os.fsdecode(name))
    (new / "2.png").write_bytes((new / "1.png").read_bytes()[:40])
    output = tmp_path / "out.csv"
    code, shown, stderr = evaluated(capsys, trained, "--predict", new, "--output", output)
    assert (code, stderr) == (0, "")
    assert "3 predictions of trained trial 0" in shown
    assert "; 1 of 4 files left out: 2.png (" in shown
    assert [row["id"] for row in rows(output)] == ["1", "3", r"caf\xe9"]


def refusal(path: Path) -> str:
    with pytest.raises(DatasetError) as raised:
        list(open_unlabelled(path, SHAPE).batches(8))
    message = str(raised.value)
    assert message.startswith(str(path))
    assert message.isprintable()
    return message


def test_the_file_is_written_where_it_is_asked_for_or_not_at_all(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "new.npy", np.zeros((3, 16, 16), np.uint8))
    there = tmp_path / "there.csv"
    there.write_text("precious\n")
    predict = (trained, "--predict", tmp_path / "new.npy", "--output")
    mistakes: list[tuple[tuple[str | Path, ...], str]] = [
        ((*predict, there), f"output: {there} exists; name another file, or replace it with --force"),
        ((*predict, tmp_path / "no" / "a.csv"), "name a file in a folder that exists"),
        ((*predict, tmp_path, "--force"), "cannot be written; name a file"),
        (
            (trained, "--predict", tmp_path / "new.npy", "--trial", "7"),
            "trial: 7 given, but trained has 1 trial, numbered from 0",
        ),
        ((trained, "--output", there), "--output is for --predict"),
        ((trained, "--force"), "--force is for --predict"),
    ]
    for arguments, message in mistakes:
        code, stdout, stderr = evaluated(capsys, *arguments)
        assert (code, stdout, stderr.count("\n")) == (2, "", 1), stderr
        assert message in stderr
    assert there.read_text() == "precious\n"
    assert evaluated(capsys, *predict, there, "--force")[0] == 0
    assert len(rows(there)) == 3
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".tmp"] == []
