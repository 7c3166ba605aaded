"""A prepared data set on disk: four .npy files, and a meta.json with their shapes, types and checksums."""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from trainables.errors import DatasetError

SCHEMA = 1
"""Version of the files' layout; a data set on disk with another version is prepared again."""

Part = Literal["train", "test"]
Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]

ARRAY_NAMES = ("train_images", "train_labels", "test_images", "test_labels")
FILE_NAMES = frozenset({"meta.json", *(f"{name}.npy" for name in ARRAY_NAMES)})

_CHUNK = 4096  # images copied at a time (12 MB of 32x32x3), so that a data set may be larger than memory


@dataclass(frozen=True, eq=False)
class RawArrays:
    """The data set of a source: images uint8 (N, H, W, C), labels int64 (N,), and where they came from."""

    train_images: Images
    train_labels: Labels
    test_images: Images
    test_labels: Labels
    class_names: tuple[str, ...]
    source: str
    grey_scale: float | None = None
    """The value that became 255 in grey images above 8 bits; None if there are none."""
    val_images: int = 0
    """How many of the training images, at their end, are a validation part of its own; 0 if it has none."""
    left_out: str = ""
    """Files that could not be read, counted, the first of them named; empty for none."""
    files: str = ""
    """A digest of the files of an image folder; empty for other sources."""


@dataclass(frozen=True, eq=False)
class StoredPart:
    """The training or the test arrays of a prepared data set, mapped from disk, with its meta.json."""

    images: Images
    labels: Labels
    meta: dict[str, Any]


class DamagedError(DatasetError):
    """A prepared folder whose files are missing or differ from its meta.json."""


def write_arrays(folder: Path, name: str, raw: RawArrays) -> None:
    """Write `raw` into `folder`, compare every file with what was written, and write meta.json last.

    Raises DatasetError when the arrays are inconsistent, or a file differs from what was written.
    """
    _check_consistent(name, raw)
    described: dict[str, dict[str, Any]] = {}
    for array_name in ARRAY_NAMES:
        array: npt.NDArray[Any] = getattr(raw, array_name)
        path = folder / f"{array_name}.npy"
        digest = hashlib.sha256()
        with path.open("wb") as file:
            header = {"descr": np.lib.format.dtype_to_descr(array.dtype), "fortran_order": False, "shape": array.shape}
            np.lib.format.write_array_header_1_0(file, header)
            for start in range(0, len(array), _CHUNK):
                chunk = np.ascontiguousarray(array[start : start + _CHUNK])
                digest.update(chunk.data)
                file.write(chunk.data)
            file.flush()
            os.fsync(file.fileno())
        sha256 = _sha256(np.load(path, mmap_mode="r"))
        if sha256 != digest.hexdigest():
            raise DatasetError(
                f"{path} has SHA-256 {sha256} after writing {digest.hexdigest()}; check the disk and try again"
            )
        described[array_name] = {
            "shape": list(array.shape),
            "dtype": array.dtype.str,
            "bytes": path.stat().st_size,
            "sha256": sha256,
        }
    mean, std = channel_statistics(raw.train_images)
    meta = {
        "schema": SCHEMA,
        "name": name,
        "source": raw.source,
        "classes": len(raw.class_names),
        "class_names": list(raw.class_names),
        "mean": mean,
        "std": std,
        "grey_scale": raw.grey_scale,
        "val_images": raw.val_images,
        "class_counts": _class_counts(raw),
        "left_out": raw.left_out,
        "files": raw.files,
        "arrays": described,
    }
    with (folder / "meta.json").open("w", encoding="utf-8") as file:
        json.dump(meta, file, indent=1)
        file.flush()
        os.fsync(file.fileno())


def read_part(folder: Path, part: Part, *, full: bool = False) -> StoredPart:
    """Map one part of a prepared folder, without touching the files of the other part.

    Pages are shared between processes until one writes to them (copy-on-write, mmap_mode "c"). Sizes, shapes and types
    are compared with meta.json, and with `full` the SHA-256 too. Raises DamagedError, with the reason, if they differ.
    """
    meta = read_meta(folder)
    arrays: list[npt.NDArray[Any]] = []
    for array_name in (f"{part}_images", f"{part}_labels"):
        path = folder / f"{array_name}.npy"
        try:
            described = meta["arrays"][array_name]
            size = path.stat().st_size
            if size != described["bytes"]:
                raise DamagedError(f"{path} has {size:,} bytes, not {described['bytes']:,}")
            mapped = np.load(path, mmap_mode="c", allow_pickle=False)
        except (OSError, KeyError, TypeError, EOFError) as error:
            raise DamagedError(f"{path} cannot be opened ({error})") from error
        except ValueError as error:  # raised by np.load for a broken header; DamagedError is one too
            raise error if isinstance(error, DamagedError) else DamagedError(f"{path}: {error}") from error
        if [list(mapped.shape), mapped.dtype.str] != [described["shape"], described["dtype"]]:
            raise DamagedError(f"{path} has {mapped.dtype.str} {mapped.shape}, which differs from meta.json")
        if full and (sha256 := _sha256(mapped)) != described["sha256"]:
            raise DamagedError(f"{path} has SHA-256 {sha256}, not {described['sha256']}")
        arrays.append(np.asarray(mapped))  # the plain-array view keeps the mapping alive
    return StoredPart(arrays[0], arrays[1], meta)


def read_meta(folder: Path) -> dict[str, Any]:
    """Return meta.json of a prepared folder.

    Raises DamagedError when it is missing or unreadable, or has another schema version.
    """
    try:
        meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
        schema = meta["schema"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DamagedError(f"{folder / 'meta.json'} cannot be read ({error})") from error
    if schema != SCHEMA:
        raise DamagedError(f"{folder / 'meta.json'} has schema {schema!r}, not {SCHEMA}")
    return dict(meta)


def part_sha256(meta: dict[str, Any], part: Part) -> str:
    """Return one SHA-256 for the images and the labels of a part, from its meta.json; no file of it is opened."""
    digests = [meta["arrays"][f"{part}_{kind}"]["sha256"] for kind in ("images", "labels")]
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()


def channel_statistics(images: Images) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the mean and the standard deviation of each channel of images (N, H, W, C), in units of [0, 1].

    They are exact up to the last division, because the sums are taken over a histogram of the 256 values. The deviation
    of a constant channel counts as 1, so that it becomes 0 and not NaN. Raises DatasetError if all are constant.
    """
    channels = images.shape[-1]
    histogram = np.zeros((channels, 256), dtype=np.int64)
    for start in range(0, len(images), _CHUNK):
        chunk = images[start : start + _CHUNK]
        for channel in range(channels):
            histogram[channel] += np.bincount(chunk[..., channel].ravel(), minlength=256)
    constant = [np.count_nonzero(row) == 1 for row in histogram]
    if all(constant):
        raise DatasetError(
            f"all {len(images):,} training images are one plain colour ({', '.join(str(r.argmax()) for r in histogram)}"
            " of 255), so there is nothing to learn; check the files"
        )
    values = np.arange(256, dtype=np.int64)
    pixels = int(histogram[0].sum())
    mean = [int(row @ values) / pixels for row in histogram]
    variance = [max(int(row @ values**2) / pixels - m * m, 0.0) for row, m in zip(histogram, mean, strict=True)]
    std = tuple(1.0 if flat else v**0.5 / 255 for v, flat in zip(variance, constant, strict=True))
    return tuple(m / 255 for m in mean), std


def _class_counts(raw: RawArrays) -> list[list[int]]:
    """Images to train on, of the own validation part and of the test set, by class."""
    border = len(raw.train_labels) - raw.val_images
    parts = (raw.train_labels[:border], raw.train_labels[border:], raw.test_labels)
    counts = [np.bincount(labels, minlength=len(raw.class_names)).tolist() for labels in parts]
    return [list(row) for row in zip(*counts, strict=True)]


def _check_consistent(name: str, raw: RawArrays) -> None:
    for part in ("train", "test"):
        images, labels = getattr(raw, f"{part}_images"), getattr(raw, f"{part}_labels")
        if images.dtype != np.uint8 or images.ndim != 4 or labels.dtype != np.int64 or labels.shape != images.shape[:1]:
            raise DatasetError(
                f"{name}: {part} images {images.dtype} {images.shape} and labels {labels.dtype} {labels.shape} "
                "are not uint8 (N, H, W, C) and int64 (N,); use the original data set as the source"
            )
        classes = len(raw.class_names)
        if len(labels) == 0 or int(labels.min()) < 0 or int(labels.max()) >= classes:
            raise DatasetError(f"{name}: the {part} labels are not all in 0 to {classes - 1}; replace the source")
    if raw.train_images.shape[1:] != raw.test_images.shape[1:]:
        raise DatasetError(
            f"{name}: training images {raw.train_images.shape[1:]} and test images {raw.test_images.shape[1:]} "
            "differ in shape; replace the source"
        )


def _sha256(array: npt.NDArray[Any]) -> str:
    digest = hashlib.sha256()
    for start in range(0, len(array), _CHUNK):
        digest.update(np.ascontiguousarray(array[start : start + _CHUNK]).data)
    return digest.hexdigest()
