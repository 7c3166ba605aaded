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
from trainables.data.splits import TEST_FRACTION
from trainables.data.stored_arrays import SCHEMA
from trainables.errors import DatasetError

DEFAULT_IMAGE_SIZE = 32
"""Side in pixels to which images are resized and cropped: CIFAR's size."""

IMAGE_SIZES = range(8, 513)  # below 8, three halvings leave no pixel; at 512, an image takes 0.8 MB

PREPARATION = 3
"""Version of what the preparation makes of a folder's files; a copy that another version made is not used."""


WITHOUT_VAL = " without val/"
"""Ends the digest of the files of a folder whose val/ is not used, so that it is not taken for an earlier state."""


@dataclass(frozen=True)
class FolderScan:
    """The image files of a folder, sorted, with the class of each; none has been opened."""

    class_names: tuple[str, ...]
    train: tuple[tuple[Path, int], ...]
    test: tuple[tuple[Path, int], ...]
    """Empty if the folder has no test/; a stratified share of `train` is then the test set."""
    val: tuple[tuple[Path, int], ...]
    """Empty if the folder has no val/, or that is not to be used; a share of `train` is then the validation split."""
    parts: FolderParts
    passed_over: str
    """What was not read, with counts, in the words of a message; empty for nothing."""

    @property
    def files(self) -> tuple[tuple[Path, int], ...]:
        """All image files with the class of each."""
        return *self.train, *self.test, *self.val


def is_image_folder(name: str) -> bool:
    """Return whether `name` is the path of an existing folder."""
    return bool(name) and resolved_folder(name).is_dir()


def resolved_folder(name: str) -> Path:
    """Return the absolute path of the folder `name`, with ~ and links resolved."""
    return Path(os.path.expanduser(name)).resolve()  # Path.expanduser raises for a user who does not exist


def scan_folder(folder: Path, val_folder: bool = True) -> FolderScan:
    """List the images of `folder`: not those in hidden folders or in those that systems leave behind, and each once.

    Without `val_folder`, those of val/ are not read. Raises DatasetError for fewer than 2 classes, for a class with
    fewer than 2 images, for a class only in test/ or val/, or where parts cannot be told from classes.
    """
    try:
        return _scan(folder, val_folder)
    except OSError as error:
        raise DatasetError(f"{shown(folder)} cannot be listed ({shown(str(error))}); check its permissions") from error


def _scan(folder: Path, val_folder: bool) -> FolderScan:
    parts = find_parts(folder)
    vals = parts.val if val_folder else ()
    if len(vals) > 1:
        raise DatasetError(
            f"{shown(folder)} holds {', '.join(shown(path.name) for path in vals)}, which are named like the same "
            "part; merge them or rename one"
        )
    classes = subfolders(parts.train)
    if len(classes) < 2:
        raise DatasetError(
            f"{shown(parts.train)} has {len(classes)} class folders, but at least 2 are needed; "
            "arrange it as class/image"
        )
    labels = {path.name: label for label, path in enumerate(classes)}
    tests = subfolders(parts.test) if parts.test else []
    val_classes = subfolders(vals[0]) if vals else []
    for path in (*tests, *val_classes):
        if path.name not in labels:
            raise DatasetError(
                f"{shown(path)} is a class that {shown(parts.train.name)}/ does not have; add it there or remove it"
            )
    roots = [folder, parts.train, *([parts.test] if parts.test else []), *vals]
    walk = FolderWalk([*roots, *folder.parents])
    found = walk.images([*classes, *tests, *val_classes])
    of_class = [*range(len(classes)), *(labels[path.name] for path in (*tests, *val_classes))]
    files = [[(path, label) for path in paths] for label, paths in zip(of_class, found, strict=True)]
    border = len(classes) + len(tests)
    train = tuple(chain.from_iterable(files[: len(classes)]))
    test = tuple(chain.from_iterable(files[len(classes) : border]))
    val = tuple(chain.from_iterable(files[border:]))
    if parts.test and not test:
        raise DatasetError(
            f"{shown(parts.test)} holds no images; fill it, or remove it to hold out a fifth of "
            f"{shown(parts.train.name)}/"
        )
    if vals and not val:
        raise DatasetError(
            f"{shown(vals[0])} holds no images; fill it, or remove it to validate on a share of "
            f"{shown(parts.train.name)}/"
        )
    unread = dict.fromkeys([*roots, *parts.stray])
    walk.passed_over[OUTSIDE] += sum(1 for root in unread for _ in direct_images(root))
    class_names = tuple(utf8_name(path.name) for path in classes)
    require_two_each(folder, class_names, [label for _, label in train])
    return FolderScan(class_names, train, test, val, parts, walk.summary())


def files_digest(folder: Path, scan: FolderScan) -> str:
    """Return a digest of the paths, sizes and modification times of all files, which takes one look at each."""
    digest = hashlib.sha256(f"schema {SCHEMA}, preparation {PREPARATION}\n".encode())
    for path, label in scan.files:
        try:
            stat = path.stat()
        except OSError as error:
            raise DatasetError(f"{shown(path)} cannot be read ({error.strerror}); start again") from error
        facts = f"\0{label}\0{stat.st_size}\0{stat.st_mtime_ns}\n"
        digest.update(os.fsencode(path.relative_to(folder)) + facts.encode())
    return digest.hexdigest() + (WITHOUT_VAL if scan.parts.val and not scan.val else "")


def folder_source_key(
    folder: Path, scan: FolderScan, files: str, image_size: int | None, test_share: float = TEST_FRACTION
) -> str:
    """Return the cache key of `folder`: its name, the image size, the `files_digest`, and a share that is not usual."""
    readable_name = re.sub(r"[^A-Za-z0-9_-]+", "-", folder.name)[:40]
    share = "" if scan.test or test_share == TEST_FRACTION else f"-test-{test_share:g}"
    return f"folder-{readable_name}-{checked_image_size(image_size)}px-{files[:16]}{share}"


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
