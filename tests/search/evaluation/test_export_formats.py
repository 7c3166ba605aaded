"""Exported files open without this project and answer as the network that was validated."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from PIL import Image
from safetensors import safe_open

from model_zoo import ResNetLayout, build
from results import Record, read_record
from results.console import run_app
from results.ranking.intervals import interval_text
from search.evaluation import onnx_format
from search.evaluation.export import FACTS_NAME, FORMATS, load_exported
from search.evaluation.export_card import model_card
from search.evaluation.onnx_format import OPSET, onnx_bytes
from search.export import app, split_trial
from search.runs import read_config
from tests.support.cli import ROOT
from tests.support.trained_run import evaluated, write_trained_run
from trainables.data import load_training_set
from trainables.errors import TrainablesError

PAGE = (ROOT / "docs" / "export.md").read_text()
SCRIPTS = {
    name: PAGE[PAGE.index(f"\nFrom `{name}`") :].partition("```python\n")[2].partition("```")[0]
    for name in ("best.pt2", "best.onnx", "best.safetensors")
}
RUN_FOR_EACH = """\
import sys
_, script, *images = sys.argv
for image in images:
    exec(open(script).read().replace("new-images/0.png", image), {"__name__": "script"})
assert not {"model_zoo", "trainables", "search", "results", "ray"} & set(sys.modules)
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A storage with the runs `trained` and `other`, whose networks differ."""
    storage = tmp_path_factory.mktemp("runs")
    write_trained_run(storage / "trained", "learning_rate=0.05", "batch_size=16", "precision=float32")
    write_trained_run(storage / "other", "learning_rate=0.02", "batch_size=16", "precision=float32")
    return storage


@pytest.fixture(scope="module")
def files(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the best network of `trained` in each format, and images of several sizes and kinds."""
    folder = tmp_path_factory.mktemp("files")
    for suffix in FORMATS:
        assert run_app(app, ["--storage", str(runs), "trained:0", "-o", str(folder / f"best{suffix}")]) == 0
    draw = np.random.default_rng(0)
    (folder / "images").mkdir()
    for number, size in enumerate([(20, 300), (90, 31), (7, 5, 3)]):
        image = Image.fromarray(draw.integers(0, 256, size, dtype=np.uint8))
        exif = image.getexif()
        exif[0x0112] = 6 if number == 1 else 1  # turned by a quarter
        image.save(folder / "images" / f"{number}.png", exif=exif)
    return folder


@pytest.fixture
def exported(runs: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs the command and returns exit code, stdout and stderr."""

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        given = ["--storage", str(runs), *map(str, arguments)]
        code = run_app(app, given, user_errors=(TrainablesError,))
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return run


def test_the_page_has_a_script_for_every_format() -> None:
    assert {Path(name).suffix for name in SCRIPTS} == FORMATS.keys()
    assert len(set(SCRIPTS.values())) == len(FORMATS)


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_bare_script_names_the_classes_that_predict_names(
    name: str, files: Path, runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    predictions = tmp_path / "predictions.csv"
    assert evaluated(capsys, runs / "trained", "--predict", files / "images", "--output", predictions)[0] == 0
    expected = [row["class"] for row in csv.DictReader(predictions.read_text().splitlines())]
    (tmp_path / "script.py").write_text(SCRIPTS[name])
    (tmp_path / "run.py").write_text(RUN_FOR_EACH)
    images = sorted(map(str, (files / "images").iterdir()))
    command = [sys.executable, "-W", "error", str(tmp_path / "run.py"), str(tmp_path / "script.py"), *images]
    done = subprocess.run(command, cwd=files, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[:-1] == expected
    assert len(expected) == 3


def test_onnx_is_one_file_for_any_batch_and_size(files: Path, runs: Path) -> None:
    model = onnx.load(files / "best.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert [entry.version for entry in model.opset_import if entry.domain == ""] == [OPSET]
    assert not any(tensor.external_data for tensor in model.graph.initializer)
    session = onnxruntime.InferenceSession(files / "best.onnx")
    shape = session.get_inputs()[0].shape
    assert (len({*map(str, shape)}), shape[3]) == (4, 1)
    module = load_exported(runs, "trained", None, "any").module
    for size in ((1, 16, 16, 1), (5, 40, 23, 1), (2, 9, 9, 1)):
        images = np.random.default_rng(1).integers(0, 256, size, dtype=np.uint8)
        (logits,) = session.run(None, {"images": images})
        np.testing.assert_allclose(logits, module(torch.from_numpy(images)).numpy(), rtol=0, atol=1e-4)


def test_each_file_says_what_it_is(files: Path, runs: Path) -> None:
    data = load_training_set(**read_config(runs / "trained").data_arguments)
    trial = read_record(runs / "trained").trials[0]
    expected = {
        **{"run": "trained", "trial": 0, "layout": trial.layout, "layout_id": trial.layout_id, "params": trial.params},
        **{"epoch": trial.epochs, "val_accuracy": trial.val_accuracy, "dataset": "digits", "size": "any"},
        **{"image_shape": [16, 16, 1], "mean": list(data.mean), "std": list(data.std), "grey_scale": None},
        "classes": list(data.class_names),
    }
    inside = {FACTS_NAME: ""}
    torch.export.load(files / "best.pt2", extra_files=inside)
    with safe_open(files / "best.safetensors", "pt") as file:
        texts = [inside[FACTS_NAME], file.metadata()[FACTS_NAME]]
    session = onnxruntime.InferenceSession(files / "best.onnx")
    texts.append(session.get_modelmeta().custom_metadata_map[FACTS_NAME])
    assert [json.loads(text) for text in texts] == [expected] * 3


def test_onnx_check_tells_the_same_network_from_another(files: Path, exported: Any, tmp_path: Path) -> None:
    before = (files / "best.onnx").read_bytes()
    code, stdout, stderr = exported("trained", "-o", files / "best.onnx", "--onnx-check")
    assert (code, stderr) == (0, "")
    assert stdout.startswith(
        f"{files / 'best.onnx'}: onnxruntime {onnxruntime.__version__} differs from torch by at most "
    )
    code, stdout, stderr = exported("other", "-o", files / "best.onnx", "--onnx-check")
    assert (code, stdout, stderr.count("\n")) == (2, "", 1)
    assert "and at most 0.0001 is allowed" in stderr
    (tmp_path / "no.onnx").write_bytes(b"no model")
    code, stdout, stderr = exported("trained", "-o", tmp_path / "no.onnx", "--onnx-check")
    assert (code, stdout, stderr.count("\n")) == (2, "", 1)
    assert "not a model for this trial's images" in stderr
    code, stdout, stderr = exported("trained", "-o", files / "best.onnx", "--onnx-check", "--size", "trained")
    assert (code, stderr) == (0, "")
    assert (files / "best.onnx").read_bytes() == before


def test_an_onnx_model_that_fails_its_check_is_not_written(
    exported: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_format, "TOLERANCE", -1.0)
    code, stdout, stderr = exported(
        "trained", "-o", tmp_path / "a.onnx", "--size", "trained", "--card", tmp_path / "a.md"
    )
    assert (code, stdout, stderr.count("\n")) == (2, "", 1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("package", ["onnxscript", "onnxruntime"])
def test_a_missing_package_is_named_with_its_extra(
    package: str, exported: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    code, stdout, stderr = exported("trained", "-o", tmp_path / "a.onnx")
    assert (code, stdout) == (2, "")
    assert stderr == f"error: onnx: the package {package} is missing; install parambudget[onnx]\n"
    assert list(tmp_path.iterdir()) == []


def test_the_card_has_what_a_reader_asks_for(exported: Any, runs: Path, tmp_path: Path) -> None:
    file, card = tmp_path / "a.safetensors", tmp_path / "a.md"
    assert exported("other", "-o", file, "--card", card)[0] == 0
    text = card.read_text()
    assert "| licence | not stated: name it before you publish this file |" in text
    assert "- test: not measured\n- looks at the test set in this run: 0\n" in text
    with Record(runs / "other") as record:
        record.append("evaluated", trial=0, epoch=6, test_accuracy=0.5, test_loss=1.0)
    assert exported("other:0", "-o", file, "--card", card, "--license", "MIT | mine", "--force")[0] == 0
    text, trial = card.read_text(), read_record(runs / "other").trials[0]
    data = load_training_set(**read_config(runs / "other").data_arguments)
    split = hashlib.sha256(data.train_indices.tobytes() + data.val_indices.tobytes()).hexdigest()
    for part in (
        *(f"# {trial.layout_id}, {trial.params:,} parameters\n", "| licence | MIT \\| mine |"),
        *(data.sha256, str(data.test_sha256), split, "of the run other, with the weights of epoch 6"),
        *(f"epoch 6: {interval_text(0.5, 359)} (95% interval)", "looks at the test set in this run: 1\n"),
        *("learning_rate = 0.02\n", "[recipe]\n", "  stage 2  1 basic block 3x3, stride 2"),
        json.loads((runs / "other" / "run.json").read_text())["git"]["commit"],
    ):
        assert part in text, part


@pytest.mark.parametrize("suffix", FORMATS)
def test_three_lines_of_the_card_load_the_file(suffix: str, files: Path, runs: Path, tmp_path: Path) -> None:
    exported = load_exported(runs, "trained", None, "any")
    text = model_card(runs, "trained", exported.facts, exported.training_set(), f"best{suffix}", None)
    loading = text.partition("```python\n")[2].partition("\n```")[0]
    assert loading.count("\n") == 2
    command, environment = [sys.executable, "-W", "error", "-c", loading], os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=files, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr


def test_a_colon_names_a_trial_unless_a_run_is_called_so(tmp_path: Path) -> None:
    assert split_trial(tmp_path, "first") == ("first", None)
    assert split_trial(tmp_path, "first:7") == ("first", 7)
    assert split_trial(tmp_path, "a:b/first:12") == ("a:b/first", 12)
    assert split_trial(tmp_path, "first:best") == ("first:best", None)
    (tmp_path / "first:7").mkdir()
    (tmp_path / "first:7" / "record.jsonl").touch()
    assert split_trial(tmp_path, "first:7") == ("first:7", None)


def test_mistakes_are_one_line_and_nothing_is_written(exported: Any, tmp_path: Path) -> None:
    there = tmp_path / "there.pt2"
    there.write_text("precious")
    for arguments, message in (
        (("trained", "-o", there), f"output: {there} exists; name another file, or replace it with --force"),
        (("trained", "-o", tmp_path / "a.pt2", "--card", there), f"card: {there} exists"),
        (("trained", "-o", tmp_path / "a.pt2", "--card", tmp_path / "a.pt2"), "name two different files"),
        (("trained", "-o", tmp_path / "a.pth"), "the suffix is the format, so use .pt2, .onnx or .safetensors: a.pt2"),
        (("trained:9", "-o", tmp_path / "a.pt2"), "trial: 9 given, but trained has 1 trial, numbered from 0"),
        (("absent", "-o", tmp_path / "a.pt2"), "no run 'absent'"),
        (("trained", "-o", tmp_path / "a.pt2", "--license", "MIT"), "add --card FILE, or leave it out"),
        (("trained", "-o", there, "--onnx-check"), "name an .onnx file that exists"),
        (("trained", "-o", tmp_path / "a.onnx", "--onnx-check", "--force"), "--onnx-check writes nothing"),
    ):
        code, stdout, stderr = exported(*arguments)
        assert (code, stdout, stderr.count("\n")) == (2, "", 1), stderr
        assert message in stderr
    assert [path.name for path in tmp_path.iterdir()] == ["there.pt2"]
    assert there.read_text() == "precious"


@pytest.mark.parametrize("size", [8, 9, 17])
def test_averages_before_skips_and_strided_stems_are_the_same_in_onnx(size: int) -> None:
    network = build(ResNetLayout((1, 1, 1), (8, 16, 32), skip_pool=True, stem_depth=3, stem_stride=2)).eval()
    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    content = onnx_bytes(torch.export.export(network, (images,)), "facts", {})
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {session.get_inputs()[0].name: images.numpy()})
    with torch.inference_mode():
        torch.testing.assert_close(torch.from_numpy(found), network(images), rtol=1e-4, atol=1e-5)
