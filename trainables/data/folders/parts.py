"""Which folders of a data set are its parts (training, test, validation) and which are its classes, by their names."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from trainables.data.file_names import shown
from trainables.data.folders.walk import has_direct_images, holds_images, subfolders
from trainables.errors import DatasetError

_WORDS = {
    "train": {"train", "training", "trn"},
    "test": {"test", "testing", "tst", "holdout", "heldout"},
    "val": {"val", "valid", "validation", "validate", "validating", "dev", "development"},
}
_FILLERS = ("", "set", "sets", "data", "dataset", "images", "imgs", "img", "image", "folder", "dir", "split", "part")
_PARTS = {
    spelled: part
    for part, words in _WORDS.items()
    for word in words
    for filler in _FILLERS
    for spelled in (word + filler, filler + word)
}


@dataclass(frozen=True)
class FolderParts:
    """The folders of a data set whose sub-folders are its classes."""

    train: Path
    """The folder itself when it is not divided into parts."""
    test: Path | None
    val: tuple[Path, ...]
    """More than one can be used by nobody."""
    stray: tuple[Path, ...] = ()
    """Validation folders without class folders, which are not read."""


def part_of_name(name: str) -> str | None:
    """Return "train", "test" or "val" for the usual names of that part in any letters, such as Training_Set."""
    return _PARTS.get(re.sub(r"[\W\d_]+", "", name.lower()))


def find_parts(folder: Path) -> FolderParts:
    """Return the parts of `folder`.

    Raises DatasetError where it cannot be told which folders are parts and which are classes.
    """
    tops = subfolders(folder)
    named = {path: part for path in tops if (part := part_of_name(path.name))}
    others = [path for path in tops if path not in named and holds_images(path)]
    divided = {path: part for path, part in named.items() if _is_divided(path, named, alone=not others)}
    train, test, val = ([p for p, part in divided.items() if part == wanted] for wanted in ("train", "test", "val"))
    here = shown(folder)
    if not train or (others and len(divided) == 1 and len(subfolders(train[0])) < 2):
        told = len(set(named.values())) > 1 or len(named) == 1  # "test 1" and "test 2" may be classes
        if told and not others and set(named.values()) & {"train", "test"}:
            missing = "a training part with class folders" if divided else "class folders"
            raise DatasetError(f"{here} holds {_listed([*named])} without {missing}; arrange it as train/class/image")
        if len(set(named.values())) > 1 and len(others) == 1 and not divided:
            raise DatasetError(
                f"{here} holds {_listed(tops)}, named like parts of a data set, but without class folders; arrange it "
                "as train/class/image, or rename them if they are classes"
            )
        _refuse_divided_classes(folder)
        return FolderParts(folder, None, ())
    for found in (train, test):
        if len(found) > 1:
            raise DatasetError(
                f"{here} holds {_listed(found)}, which are named like the same part; merge them or rename one"
            )
    flat_test = [
        path for path, part in named.items() if part == "test" and path not in divided and has_direct_images(path)
    ]
    if not test and flat_test:
        raise DatasetError(
            f"{shown(flat_test[0])} holds images without class folders; arrange it as {shown(flat_test[0].name)}"
            "/class/image, or move it out to hold out a fifth of the training images"
        )
    if others and len(divided) == 1:
        raise DatasetError(
            f"{here} holds {shown(train[0].name)}/ with folders inside, and images in {_listed(others)} beside it: "
            f"either could be the classes; move {_listed(others)} out of {here}, or rename {shown(train[0].name)}/"
        )
    _refuse_divided_classes(train[0])
    stray = [path for path, part in named.items() if part == "val" and path not in val]
    return FolderParts(train[0], test[0] if test else None, tuple(val), tuple(stray))


def _is_divided(path: Path, named: Iterable[Path], alone: bool) -> bool:
    """Return whether `path`, one of the folders `named` like parts, holds classes; `alone` if there are no others.

    A class that is named like a part holds its images directly; a part may hold stray ones.
    """
    inside = {below.name for below in subfolders(path)}
    if not inside or alone or not has_direct_images(path):
        return bool(inside)
    return any(len(inside & {below.name for below in subfolders(other)}) > 1 for other in named if other != path)


def _refuse_divided_classes(folder: Path) -> None:
    """Raise DatasetError where every class folder holds the same folders and no image: those may be the classes."""
    inside: list[frozenset[str]] = []
    for path in subfolders(folder):
        below = [p.name for p in subfolders(path) if holds_images(p)]
        if has_direct_images(path):
            return
        if below:
            inside.append(frozenset(part_of_name(name) or name.lower() for name in below))
    if len(inside) < 2:
        return
    union = frozenset[str]().union(*inside)
    same = len(set(inside)) == 1 and len(union) > 1
    if same or (len(union) > 1 and union <= {"train", "test", "val"}):
        raise DatasetError(
            f"every folder in {shown(folder)} holds the same folders ({_listed([Path(n) for n in sorted(union)])}) and "
            "no image, so its folders are not the classes; arrange it as class/image, or as train/class/image and "
            "test/class/image"
        )


def _listed(paths: list[Path]) -> str:
    names = [f"{shown(path.name)}/" for path in paths]
    return ", ".join(names[:5]) + (f" and {len(names) - 5:,} more" if len(names) > 5 else "")
