"""The data sets that torchvision reads: from its layout on disk, and refused when they are not what they should be."""

import hashlib
import pickle
from pathlib import Path

import numpy as np
import pytest
from torchvision import datasets

from trainables.data import load_training_set
from trainables.data.torchvision_sets import prepare_torchvision_set
from trainables.errors import DatasetError

scipy_io = pytest.importorskip("scipy.io")  # comes with scikit-learn; torchvision reads SVHN with it

UNREACHABLE = "http://127.0.0.1:9"  # the discard port: refused at once


def write_idx(path: Path, array: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> None:
    """Write the IDX format of the MNIST family: 0, 0, type 8 (bytes), dimensions, sizes as big-endian int32, data."""
    path.parent.mkdir(parents=True, exist_ok=True)
    header = bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
    path.write_bytes(header + array.tobytes())


@pytest.fixture
def nothing_reachable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without data and proxies that refuse; returns the folder given as the data directory."""
    for variable in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(variable, UNREACHABLE)
    for variable in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    monkeypatch.chdir(tmp_path / "home")
    return tmp_path / "data"


@pytest.mark.parametrize(("name", "folder"), [("mnist", "MNIST"), ("fashion-mnist", "FashionMNIST")])
def test_the_mnist_family_is_read_whole_from_its_folder(nothing_reachable: Path, name: str, folder: str) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (60_000, 28, 28), dtype=np.uint8)
    labels = rng.integers(0, 10, 60_000, dtype=np.uint8)
    raw = nothing_reachable / folder / "raw"
    for part, count in (("train", 60_000), ("t10k", 10_000)):
        write_idx(raw / f"{part}-images-idx3-ubyte", images[:count])
        write_idx(raw / f"{part}-labels-idx1-ubyte", labels[:count])
    messages: list[str] = []
    data = load_training_set(name, nothing_reachable, on_message=messages.append)
    np.testing.assert_array_equal(data.images[..., 0], images)
    np.testing.assert_array_equal(data.labels, labels)
    assert len(data.class_names) == 10
    assert f"read from the existing folder {nothing_reachable}" in messages[0]


def test_svhn_is_turned_to_channels_last_and_its_label_ten_to_zero(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (32, 32, 3, 12), dtype=np.uint8)  # the file's order: (H, W, C, N)
    labels = np.array([10, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 1], dtype=np.uint8)
    for split in ("train", "test"):
        path = tmp_path / f"{split}_32x32.mat"
        scipy_io.savemat(path, {"X": images, "y": labels[:, None]})
        md5 = hashlib.md5(path.read_bytes()).hexdigest()
        monkeypatch.setitem(datasets.SVHN.split_list, split, ["", path.name, md5])
    raw = prepare_torchvision_set("svhn", [tmp_path], tmp_path / "scratch", print)
    np.testing.assert_array_equal(raw.train_images, images.transpose(3, 0, 1, 2))
    np.testing.assert_array_equal(raw.test_labels, labels % 10)


def test_cifar100_is_read_with_its_fine_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = np.random.default_rng(0).integers(0, 256, (4, 3072), dtype=np.uint8)
    names = [f"kind {i}" for i in range(100)]
    contents = {
        "train": {"data": images, "fine_labels": [99, 0, 5, 7], "coarse_labels": [1, 1, 1, 1]},
        "test": {"data": images[:2], "fine_labels": [3, 4], "coarse_labels": [1, 1]},
        "meta": {"fine_label_names": names},
    }
    (tmp_path / "cifar-100-python").mkdir()
    for file, content in contents.items():
        (tmp_path / "cifar-100-python" / file).write_bytes(pickle.dumps(content))
    md5 = {file: hashlib.md5(pickle.dumps(content)).hexdigest() for file, content in contents.items()}
    monkeypatch.setattr(datasets.CIFAR100, "train_list", [["train", md5["train"]]])
    monkeypatch.setattr(datasets.CIFAR100, "test_list", [["test", md5["test"]]])
    monkeypatch.setattr(datasets.CIFAR100, "meta", {**datasets.CIFAR100.meta, "md5": md5["meta"]})
    raw = prepare_torchvision_set("cifar100", [tmp_path], tmp_path / "scratch", print)
    np.testing.assert_array_equal(raw.train_images.transpose(0, 3, 1, 2).reshape(4, 3072), images)
    assert raw.train_labels.tolist() == [99, 0, 5, 7]
    assert raw.class_names == tuple(names)


def test_a_folder_with_fewer_images_than_the_set_is_refused(nothing_reachable: Path) -> None:
    raw = nothing_reachable / "MNIST" / "raw"
    for part in ("train", "t10k"):
        write_idx(raw / f"{part}-images-idx3-ubyte", np.zeros((20, 28, 28), dtype=np.uint8))
        write_idx(raw / f"{part}-labels-idx1-ubyte", np.zeros(20, dtype=np.uint8))
    with pytest.raises(DatasetError, match=r"is not mnist: it has training images \(20, 28, 28, 1\)"):
        load_training_set("mnist", nothing_reachable)


@pytest.mark.parametrize("name", ["cifar100", "svhn", "fashion-mnist", "mnist"])
def test_with_no_reachable_source_one_line_says_what_to_put_where(nothing_reachable: Path, name: str) -> None:
    with pytest.raises(DatasetError, match=r"could not be obtained: no .*'s download failed .*; put ") as caught:
        load_training_set(name, nothing_reachable)
    assert "\n" not in str(caught.value)
    assert str(nothing_reachable) in str(caught.value)
    assert not (nothing_reachable / name).exists()
