"""Finds the images of a folder and their classes from the list of files, without opening any."""

import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trainables.data.stored_arrays import SCHEMA
from trainables.errors import DatasetError

DEFAULT_IMAGE_SIZE = 32
"""Side in pixels to which images are resized and cropped: CIFAR's size."""

IMAGE_SIZES = range(8, 513)  # below 8, three halvings leave no pixel; at 512, an image takes 0.8 MB

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"})


@dataclass(frozen=True)
class FolderScan:
    """The image files of a folder, sorted, with the class of each; none has been opened."""

    class_names: tuple[str, ...]
    train: tuple[tuple[Path, int], ...]
    test: tuple[tuple[Path, int], ...]
    """Empty if the folder has no test/; a stratified fifth of `train` is then the test set."""
    val_ignored: bool
    """Whether there is a val/ beside train/, which is not read."""


def is_image_folder(name: str) -> bool:
    """Return whether `name` is the path of an existing folder."""
    return bool(name) and resolved_folder(name).is_dir()


def resolved_folder(name: str) -> Path:
    """Return the absolute path of the folder `name`, with ~ and links resolved."""
    return Path(os.path.expanduser(name)).resolve()  # Path.expanduser raises for a user who does not exist


def scan_folder(folder: Path) -> FolderScan:
    """List the images of `folder`, without hidden files and files with other suffixes.

    Raises DatasetError for fewer than 2 classes, for a class with fewer than 2 images, or for a class only in test/.
    """
    try:
        return _scan(folder)
    except OSError as error:
        raise DatasetError(f"{folder} cannot be listed ({error}); check its permissions") from error


def _scan(folder: Path) -> FolderScan:
    split = (folder / "train").is_dir() and bool(_subfolders(folder / "train"))
    train_folder = folder / "train" if split else folder
    class_names = tuple(path.name for path in _subfolders(train_folder))
    if not split and {"train", "test"} & set(class_names) and set(class_names) <= {"train", "test", "val"}:
        raise DatasetError(
            f"{folder} holds {'/, '.join(class_names)}/ without class folders; arrange it as train/class/image"
        )
    if len(class_names) < 2:
        raise DatasetError(
            f"{train_folder} has {len(class_names)} class folders, but at least 2 are needed; arrange it as class/image"
        )
    train = _list_images(train_folder, class_names)
    test: tuple[tuple[Path, int], ...] = ()
    if split and (folder / "test").is_dir():
        unknown = sorted({path.name for path in _subfolders(folder / "test")} - set(class_names))
        if unknown:
            raise DatasetError(
                f"{folder / 'test' / unknown[0]} is a class that train/ does not have; add it there or remove it"
            )
        test = _list_images(folder / "test", class_names)
        if not test:
            raise DatasetError(
                f"{folder / 'test'} holds no images; fill it, or remove it to hold out a fifth of train/"
            )
    require_two_each(folder, class_names, [label for _, label in train])
    return FolderScan(class_names, train, test, split and (folder / "val").is_dir())


def folder_source_key(folder: Path, image_size: int | None) -> str:
    """Return the cache key of `folder`: its name, the image size, and a digest of its file list.

    The digest covers each file's relative path, size and modification time, so a changed folder is prepared again.
    """
    scan = scan_folder(folder)
    size = checked_image_size(image_size)
    digest = hashlib.sha256(f"schema {SCHEMA}\n".encode())
    for path, label in (*scan.train, *scan.test):
        stat = path.stat()
        digest.update(f"{path.relative_to(folder)}\0{label}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
    readable_name = re.sub(r"[^A-Za-z0-9_-]+", "-", folder.name)[:40]
    return f"folder-{readable_name}-{size}px-{digest.hexdigest()[:16]}"


def checked_image_size(image_size: int | None) -> int:
    """Return `image_size`, or the default for None; raise DatasetError outside `IMAGE_SIZES`."""
    size = DEFAULT_IMAGE_SIZE if image_size is None else image_size
    if size not in IMAGE_SIZES:
        raise DatasetError(f"image size {size} is outside {IMAGE_SIZES[0]} to {IMAGE_SIZES[-1]}; 32 and 64 are usual")
    return size


def require_two_each(folder: Path, class_names: tuple[str, ...], labels: Sequence[int]) -> None:
    """Raise DatasetError, naming the class, when one of `class_names` has fewer than 2 of `labels`."""
    counts = np.bincount(np.asarray(labels, dtype=np.int64), minlength=len(class_names))
    for name, count in zip(class_names, counts, strict=True):
        if count < 2:
            raise DatasetError(
                f"class {name!r} of {folder} has {count} readable images, but at least 2 are needed; "
                "add images or remove the class folder"
            )


def _subfolders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _list_images(folder: Path, class_names: tuple[str, ...]) -> tuple[tuple[Path, int], ...]:
    return tuple(
        (path, label)
        for label, name in enumerate(class_names)
        for path in sorted((folder / name).rglob("*"))
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
    )
