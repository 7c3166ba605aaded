"""Finds the function that prepares a data set, by the data set's name."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from trainables.data.cache import Prepare, Say
from trainables.data.file_names import utf8_name
from trainables.data.folders.preparation import folder_info, prepare_folder
from trainables.data.folders.scan import (
    files_digest,
    folder_source_key,
    is_image_folder,
    resolved_folder,
    scan_folder,
)
from trainables.data.known_datasets import DATASETS, DatasetInfo, known_dataset
from trainables.data.splits import TEST_FRACTION, stratified_split
from trainables.data.stored_arrays import RawArrays
from trainables.errors import DatasetError


@dataclass(frozen=True)
class Source:
    """How a data set is prepared, and the key under which it is kept in the cache."""

    name: str
    """As in `DatasetInfo.name`."""
    key: str
    """Name of its folder in the cache."""
    prepare: Prepare
    info: Callable[[dict[str, Any] | None], DatasetInfo]
    """Returns its facts, given its meta.json where it is prepared."""
    files: str = ""
    """The digest of an image folder's files; empty for other sources."""


def find_source(
    name: str,
    root: Path,
    image_size: int | None = None,
    test_share: float = TEST_FRACTION,
    val_folder: bool = True,
) -> Source:
    """Return the source of the data set `name`, a key of `DATASETS` or the path of an image folder.

    `root` is the cache's folder; it and some folders around it are searched for existing copies. `test_share` becomes
    the test set of a source without one; without `val_folder`, the val/ of a folder is not read. Raises DatasetError
    for an unknown name or an image size that does not apply.
    """
    if name not in DATASETS and is_image_folder(name):
        folder = resolved_folder(name)
        scan = scan_folder(folder, val_folder)
        files = files_digest(folder, scan)
        key = folder_source_key(folder, scan, files, image_size, test_share)
        prepare = partial(prepare_folder, folder, scan, files, image_size, test_share)
        info = partial(folder_info, folder, scan, image_size, test_share)
        return Source(utf8_name(str(folder)), key, prepare, info, files)
    known = known_dataset(name, image_size, test_share)
    key = name if known.own_test or test_share == TEST_FRACTION else f"{name}-test-{test_share:g}"
    return Source(name, key, partial(_prepare_known, known, test_share, root), lambda _: known)


def existing_places(root: Path, variable: str | None = None) -> list[Path]:
    """Return the folders that are searched for an existing copy of a data set, in order and each once.

    They are the folder in the environment variable `variable`, the cache, its parent, ~/data and the working directory.
    """
    named = os.environ.get(variable) if variable else None
    places = [Path(named).expanduser()] if named else []
    places += [root, root.parent, Path("~/data").expanduser(), Path.cwd()]
    return list(dict.fromkeys(place.absolute() for place in places))


def _prepare_known(info: DatasetInfo, test_share: float, root: Path, scratch: Path, say: Say) -> RawArrays:
    name = info.name
    if name == "digits":
        raw = prepare_digits(test_share)
    elif name == "cifar10":
        from trainables.data.cifar10 import prepare_cifar10

        raw = prepare_cifar10(existing_places(root, "CIFAR10_DIR"), scratch, say)
    else:
        from trainables.data.torchvision_sets import prepare_torchvision_set

        raw = prepare_torchvision_set(name, existing_places(root), scratch, say)
    channels, height, width = info.image_shape
    got = (raw.train_images.shape, raw.test_images.shape, len(raw.class_names))
    if got != ((info.train_images, height, width, channels), (info.test_images, height, width, channels), info.classes):
        raise DatasetError(
            f"{raw.source} is not {name}: it has training images {got[0]}, test images {got[1]} and {got[2]} classes "
            f"instead of {info.train_images:,} and {info.test_images:,} images of {height}x{width}x{channels} and "
            f"{info.classes} classes; use the original data set"
        )
    return raw


def prepare_digits(test_share: float = TEST_FRACTION) -> RawArrays:
    """Return scikit-learn's 1,797 digits, 8x8 with values 0 to 16, as 16x16 with values 0 to 255.

    Interpolation is bilinear with half-pixel centres (like torch's interpolate with align_corners=False), in integers,
    so that the pixels are the same on every platform. A stratified `test_share`, drawn with seed 0, is the test set.
    """
    from sklearn.datasets import load_digits

    bunch = load_digits()
    small = bunch.images.astype(np.int64)  # (N, 8, 8)
    labels = bunch.target.astype(np.int64)
    quarters = np.zeros((16, 8), dtype=np.int64)  # each row: the weights of two input pixels, in quarters
    for i in range(16):
        near, far = i // 2, i // 2 + (1 if i % 2 else -1)
        quarters[i, near] += 3
        quarters[i, min(max(far, 0), 7)] += 1
    sixteenths = quarters @ small @ quarters.T  # 16 times the value, so 0 to 256
    images = ((sixteenths * 255 + 128) // 256).astype(np.uint8)[..., np.newaxis]  # (N, 16, 16, 1)
    train, test = stratified_split(labels, test_share, seed=0)
    names = tuple(str(digit) for digit in range(10))
    return RawArrays(images[train], labels[train], images[test], labels[test], names, "scikit-learn's load_digits")
