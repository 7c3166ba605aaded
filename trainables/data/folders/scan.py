"""Finds the images of a folder and their classes from the list of files, without opening any."""

import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from trainables.data.file_names import shown, utf8_name
from trainables.data.folders.parts import FolderParts, find_parts
from trainables.data.folders.walk import OUTSIDE, FolderWalk, direct_images, subfolders
from trainables.data.stored_arrays import SCHEMA
from trainables.errors import DatasetError

DEFAULT_IMAGE_SIZE = 32
"""Side in pixels to which images are resized and cropped: CIFAR's size."""

IMAGE_SIZES = range(8, 513)  # below 8, three halvings leave no pixel; at 512, an image takes 0.8 MB

PREPARATION = 2
"""Version of what the preparation makes of a folder's files; a copy that another version made is not used."""


@dataclass(frozen=True)
class FolderScan:
    """The image files of a folder, sorted, with the class of each; none has been opened."""

    class_names: tuple[str, ...]
    train: tuple[tuple[Path, int], ...]
    test: tuple[tuple[Path, int], ...]
    """Empty if the folder has no test/; a stratified fifth of `train` is then the test set."""
    parts: FolderParts
    """Its `val` is not read."""
    passed_over: str
    """What was not read, with counts, in the words of a message; empty for nothing."""


def is_image_folder(name: str) -> bool:
    """Return whether `name` is the path of an existing folder."""
    return bool(name) and resolved_folder(name).is_dir()


def resolved_folder(name: str) -> Path:
    """Return the absolute path of the folder `name`, with ~ and links resolved."""
    return Path(os.path.expanduser(name)).resolve()  # Path.expanduser raises for a user who does not exist


def scan_folder(folder: Path) -> FolderScan:
    """List the images of `folder`: not those in hidden folders or in those that systems leave behind, and each once.

    Raises DatasetError for fewer than 2 classes, for a class with fewer than 2 images, for a class only in test/, or
    where parts cannot be told from classes.
    """
    try:
        return _scan(folder)
    except OSError as error:
        raise DatasetError(f"{shown(folder)} cannot be listed ({shown(str(error))}); check its permissions") from error


def _scan(folder: Path) -> FolderScan:
    parts = find_parts(folder)
    classes = subfolders(parts.train)
    if len(classes) < 2:
        raise DatasetError(
            f"{shown(parts.train)} has {len(classes)} class folders, but at least 2 are needed; "
            "arrange it as class/image"
        )
    labels = {path.name: label for label, path in enumerate(classes)}
    tests = subfolders(parts.test) if parts.test else []
    for path in tests:
        if path.name not in labels:
            raise DatasetError(
                f"{shown(path)} is a class that {shown(parts.train.name)}/ does not have; add it there or remove it"
            )
    roots = [folder, parts.train, *([parts.test] if parts.test else [])]
    walk = FolderWalk([*roots, *folder.parents])
    found = walk.images([*classes, *tests])
    of_class = [*range(len(classes)), *(labels[path.name] for path in tests)]
    files = [[(path, label) for path in paths] for label, paths in zip(of_class, found, strict=True)]
    train = tuple(chain.from_iterable(files[: len(classes)]))
    test = tuple(chain.from_iterable(files[len(classes) :]))
    if parts.test and not test:
        raise DatasetError(
            f"{shown(parts.test)} holds no images; fill it, or remove it to hold out a fifth of "
            f"{shown(parts.train.name)}/"
        )
    walk.passed_over[OUTSIDE] += sum(1 for root in dict.fromkeys(roots) for _ in direct_images(root))
    class_names = tuple(utf8_name(path.name) for path in classes)
    require_two_each(folder, class_names, [label for _, label in train])
    return FolderScan(class_names, train, test, parts, walk.summary())


def folder_source_key(folder: Path, image_size: int | None) -> str:
    """Return the cache key of `folder`: its name, the image size, and a digest of its file list.

    The digest covers each file's relative path, size and modification time, so a changed folder is prepared again.
    """
    scan = scan_folder(folder)
    size = checked_image_size(image_size)
    digest = hashlib.sha256(f"schema {SCHEMA}, preparation {PREPARATION}\n".encode())
    for path, label in (*scan.train, *scan.test):
        try:
            stat = path.stat()
        except OSError as error:
            raise DatasetError(f"{shown(path)} cannot be read ({error.strerror}); start again") from error
        facts = f"\0{label}\0{stat.st_size}\0{stat.st_mtime_ns}\n"
        digest.update(os.fsencode(path.relative_to(folder)) + facts.encode())
    readable_name = re.sub(r"[^A-Za-z0-9_-]+", "-", folder.name)[:40]
    return f"folder-{readable_name}-{size}px-{digest.hexdigest()[:16]}"


def checked_image_size(image_size: int | None) -> int:
    """Return `image_size`, or the default for None; raise DatasetError outside `IMAGE_SIZES`."""
    size = DEFAULT_IMAGE_SIZE if image_size is None else image_size
    if size not in IMAGE_SIZES:
        raise DatasetError(f"image size {size} is outside {IMAGE_SIZES[0]} to {IMAGE_SIZES[-1]}; 32 and 64 are usual")
    return size


def require_two_each(folder: Path, class_names: tuple[str, ...], labels: Sequence[int], reason: str = "") -> None:
    """Raise DatasetError, naming the class, when one of `class_names` has fewer than 2 of `labels`.

    `reason` says which files could not be read.
    """
    counts = np.bincount(np.asarray(labels, dtype=np.int64), minlength=len(class_names))
    for name, count in zip(class_names, counts, strict=True):
        if count < 2:
            raise DatasetError(
                f"class '{shown(name)}' of {shown(folder)} has {count} readable images, but at least 2 are needed; "
                f"add images or remove the class folder{f'; {reason}' if reason else ''}"
            )
