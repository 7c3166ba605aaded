"""The exported network: opened by torch alone it answers as the one that was validated, for any number of images."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from results import read_record
from search.evaluation.export import FACTS_NAME
from search.evaluation.kept_network import load_kept
from search.runs import read_config
from search.runs.checkpoint_files import checkpoint_path
from tests.support.cli import ROOT
from tests.support.imports import named
from tests.support.trained_run import UNSTEADY, evaluated, write_trained_run
from tests.support.training_fixtures import CPU
from trainables.augmentation.batch import normalise
from trainables.data import load_training_set

OPEN = """\
import sys, numpy, torch
extra = {"parambudget.json": ""}
network = torch.export.load(sys.argv[1], extra_files=extra).module()
images = torch.from_numpy(numpy.load(sys.argv[2]))
for size in sys.argv[3:]:
    logits = torch.cat([network(part) for part in images.split(int(size))])
    assert logits.dtype == torch.float32 and not logits.requires_grad
    numpy.save(f"logits-{size}.npy", logits.numpy())
assert not {"model_zoo", "trainables", "search", "results", "ray"} & set(sys.modules)
print(extra["parambudget.json"])
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose trial keeps the weights of its best epoch, which is not the last."""
    folder = tmp_path_factory.mktemp("runs") / "trained"
    write_trained_run(folder, *UNSTEADY, "keep_weights=best")
    return folder


def test_torch_alone_opens_it_and_gets_the_answers_that_were_validated(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = load_training_set(**read_config(trained).data_arguments)
    images, truth = np.array(data.images[data.val_indices]), data.labels[data.val_indices]
    np.save(tmp_path / "images.npy", images)
    before = (trained / "record.jsonl").read_bytes()
    code, shown, stderr = evaluated(capsys, trained, "--export", tmp_path / "best.pt2")
    assert (code, stderr) == (0, "")
    assert shown.endswith("; uint8 images (N, 16, 16, 1) in, 10 logits out\n")
    kept = load_kept(checkpoint_path(trained, 0), CPU)
    mean, std = torch.tensor(data.mean), torch.tensor(data.std)
    with torch.inference_mode():
        expected = kept.network.eval()(normalise(torch.from_numpy(images), mean, std)).numpy()
    (tmp_path / "open.py").write_text(OPEN)
    sizes = [str(size) for size in (1, 3, len(images))]
    command = [sys.executable, "-W", "error", "open.py", "best.pt2", "images.npy", *sizes]
    opened = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert opened.returncode == 0, opened.stderr
    for size in sizes:
        logits = np.load(tmp_path / f"logits-{size}.npy")
        np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4)
    facts = json.loads(opened.stdout)
    trial, reports = read_record(trained).trials[0], read_record(trained).reports[0]
    best = max(reports, key=lambda report: report.val_accuracy)
    assert facts == {
        **{"run": "trained", "trial": 0, "layout": trial.layout, "layout_id": trial.layout_id},
        **{"params": trial.params, "epoch": best.epoch, "val_accuracy": best.val_accuracy, "dataset": "digits"},
        **{"size": "trained", "image_shape": [16, 16, 1], "classes": list(data.class_names)},
        **{"mean": list(data.mean), "std": list(data.std), "grey_scale": None},
    }
    assert float(np.mean(logits.argmax(1) == truth)) == best.val_accuracy
    assert (trained / "record.jsonl").read_bytes() == before


def test_what_cannot_be_exported_is_said_and_nothing_is_written(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    there = tmp_path / "there.pt2"
    there.write_text("precious")
    for arguments, message in (
        (("--export", there), f"export: {there} exists; name another file, or replace it with --force"),
        (("--export", tmp_path / "a.pth"), "use .pt2, .onnx or .safetensors: a.pt2"),
        (("--export", tmp_path / "no" / "a.pt2"), "name a file in a folder that exists"),
        (("--export", tmp_path / "a.pt2", "--trial", "7"), "trial: 7 given, but trained has 1 trial, numbered from 0"),
        (("--export", tmp_path / "a.pt2", "--flip"), "leave it out with --export"),
        (("--export", tmp_path / "a.pt2", "--predict", tmp_path), "one at a time"),
    ):
        code, stdout, stderr = evaluated(capsys, trained, *arguments)
        assert (code, stdout, stderr.count("\n")) == (2, "", 1), stderr
        assert message in stderr
    assert [path.name for path in tmp_path.iterdir()] == ["there.pt2"]
    assert there.read_text() == "precious"
    assert evaluated(capsys, trained, "--export", there, "--force")[0] == 0
    assert there.read_bytes() != b"precious"


def test_the_export_opens_no_test_set() -> None:
    for module in ("export", "export_card", "deployed", "onnx_format"):
        assert "trainables.data.test_set" not in named(ROOT / "search" / "evaluation" / f"{module}.py")
    assert FACTS_NAME in OPEN
