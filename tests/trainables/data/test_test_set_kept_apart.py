"""The test set stays closed until the final evaluation."""

import ast
from pathlib import Path

import numpy as np

from tests.support.cli import ROOT
from tests.support.imports import named
from trainables.data import load_training_set
from trainables.data.test_set import load_test_set

PACKAGES = ("model_zoo", "trainables", "results", "search", "benchmarks")


def test_the_training_set_never_opens_the_test_files(tmp_path: Path) -> None:
    intact = load_training_set("digits", tmp_path)
    true_test = load_test_set("digits", tmp_path)
    labels = np.array(true_test.labels)
    for name in ("test_images.npy", "test_labels.npy"):
        (tmp_path / "digits" / name).unlink()
        (tmp_path / "digits" / name).mkdir()  # whatever opens it fails
    messages: list[str] = []
    data = load_training_set("digits", tmp_path, on_message=messages.append)
    np.testing.assert_array_equal(data.images, intact.images)
    assert messages == []
    test = load_test_set("digits", tmp_path, on_message=messages.append)
    assert "the stored copy is damaged" in messages[0]
    np.testing.assert_array_equal(test.labels, labels)


def test_test_images_changed_in_place_are_noticed_by_their_checksum(tmp_path: Path) -> None:
    images = np.array(load_test_set("digits", tmp_path).images)
    path = tmp_path / "digits" / "test_images.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    messages: list[str] = []
    np.testing.assert_array_equal(load_test_set("digits", tmp_path, on_message=messages.append).images, images)
    assert "SHA-256" in messages[0]


def test_only_the_final_evaluation_imports_the_test_set() -> None:
    files = {path for package in PACKAGES for path in (ROOT / package).rglob("*.py")}
    importers = {
        path.relative_to(ROOT).as_posix()
        for path in files
        if any(module.startswith("trainables.data.test_set") for module in named(path))
    }
    assert len(files) > 10
    assert importers == {"search/evaluation/measure.py"}


def test_only_the_test_set_module_opens_the_test_part() -> None:
    openers = set()
    for path in (ROOT / package_file for package in PACKAGES for package_file in (ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("open_part", "read_part"):
                parts = [
                    a.value for a in (*node.args, *(k.value for k in node.keywords)) if isinstance(a, ast.Constant)
                ]
                openers |= {path.name} if "test" in parts else set()
    assert openers == {"test_set.py"}
