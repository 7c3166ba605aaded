"""A folder of images as a data set, with one folder per class: PATH/class, or PATH/train/class, PATH/test/class, ..."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trainables.data.cache import Say
from trainables.data.file_names import shown, utf8_name
from trainables.data.folders.scan import FolderScan, checked_image_size, require_two_each
from trainables.data.images import (
    ImageFacts,
    common_grey_scale,
    decode,
    image_facts,
    is_grayscale,
    problem_of,
    quiet_pillow,
)
from trainables.data.known_datasets import ClassCount, DatasetInfo
from trainables.data.splits import IndexArray, held_out_counts, stratified_split
from trainables.data.stored_arrays import Images, Labels, RawArrays
from trainables.errors import DatasetError


def folder_info(
    folder: Path, scan: FolderScan, image_size: int | None, test_share: float, meta: dict[str, Any] | None
) -> DatasetInfo:
    """Return the facts of an image folder: those of its prepared copy, whose meta.json is `meta`, where there is one.

    Otherwise they follow from the list of files and the headers of the images, and files that turn out to be unreadable
    are still counted. Raises DatasetError when there are too few images for a test set.
    """
    size = checked_image_size(image_size)
    if meta is not None:
        channels = meta["arrays"]["train_images"]["shape"][3]
        rows = meta["class_counts"]
        left_out = meta["left_out"]
    else:
        channels = 1 if is_grayscale(path for path, _ in scan.files) else 3
        rows = _expected_counts(scan, test_share)
        left_out = ""
    counts = tuple(ClassCount(name, *row) for name, row in zip(scan.class_names, rows, strict=True))
    val_images = sum(count.val for count in counts)
    return DatasetInfo(
        name=utf8_name(str(folder)),
        image_shape=(channels, size, size),
        classes=len(counts),
        train_images=sum(count.train for count in counts) + val_images,
        test_images=sum(count.test for count in counts),
        own_test=bool(scan.test),
        val_images=val_images,
        class_counts=counts,
        passed_over="; ".join(filter(None, (scan.passed_over, left_out))),
    )


def _expected_counts(scan: FolderScan, test_share: float) -> list[tuple[int, ...]]:
    parts = (scan.train, scan.val, scan.test)
    train, val, test = (np.bincount([n for _, n in part], minlength=len(scan.class_names)) for part in parts)
    if not scan.test:
        test = np.array(held_out_counts(train, test_share))
        train = train - test
    return list(zip(train.tolist(), val.tolist(), test.tolist(), strict=True))


def prepare_folder(
    folder: Path, scan: FolderScan, files: str, image_size: int | None, test_share: float, scratch: Path, say: Say
) -> RawArrays:
    """Decode every image of `scan` to a square of side `image_size`, RGB unless all images are grayscale.

    `files` is the digest of the files. The images of val/ follow those of the training set. Unreadable files are named
    through `say`, counted and left out. Raises DatasetError when a class is left with fewer than 2 images, or the test
    or validation folder with none.
    """
    size = checked_image_size(image_size)
    here = shown(folder)
    with quiet_pillow():
        facts = _all_facts([path for path, _ in scan.files])
        scale = common_grey_scale(facts)
        channels = 1 if all(fact.grey for fact in facts) else 3
        if scale is not None:
            say(f"{here}: grey images above 8 bits; {scale:,g} becomes 255")
        shape = (size, size, channels)
        together = _decode_all(folder, (*scan.train, *scan.val), shape, scale, scratch / "train.npy", say)
        border = together.readable_before(len(scan.train))
        images, labels = together.images, together.labels
        require_two_each(folder, scan.class_names, labels[:border].tolist(), together.why)
        if scan.val and border == len(labels):
            raise _unreadable(scan.parts.val[0], together.why)
        source = f"the image folder {here}"
        val_images = len(labels) - border
        if scan.test:
            tests = _decode_all(folder, scan.test, shape, scale, scratch / "test.npy", say)
            if not len(tests.labels):
                raise _unreadable(scan.parts.test or folder, tests.why)
            left_out = "; ".join(filter(None, (together.why, tests.why)))
            arrays = (images, labels, tests.images, tests.labels)
            return RawArrays(*arrays, scan.class_names, source, scale, val_images, left_out, files)
    rest, test = stratified_split(labels[:border], test_share, seed=0)
    train = np.concatenate([rest, np.arange(border, len(labels), dtype=np.int64)])
    kept, held_out = _take(images, train, scratch / "kept.npy"), _take(images, test, scratch / "held_out.npy")
    arrays = (kept, labels[train], held_out, labels[test])
    return RawArrays(*arrays, scan.class_names, source, scale, val_images, together.why, files)


def _unreadable(part: Path, why: str) -> DatasetError:
    return DatasetError(
        f"no file in {shown(part)} is a readable image ({why}); replace them, or remove {shown(part.name)}/"
    )


@dataclass(frozen=True, eq=False)
class _Decoded:
    """The readable ones of some files."""

    images: Images
    labels: Labels
    rows: IndexArray
    """The position of each among the files."""
    why: str
    """The first files that were left out with the reason, empty if there are none."""

    def readable_before(self, position: int) -> int:
        """How many of the first `position` files are readable."""
        return int(np.searchsorted(self.rows, position))


def _all_facts(files: Sequence[Path]) -> list[ImageFacts]:
    """Return the facts of the readable ones of `files`; the others are reported when they are decoded."""

    def facts_of(path: Path) -> ImageFacts | None:
        try:
            return image_facts(path)
        except MemoryError:
            raise
        except Exception:
            return None

    with ThreadPoolExecutor() as pool:
        return [facts for facts in pool.map(facts_of, files) if facts]


def _decode_all(
    folder: Path,
    files: Sequence[tuple[Path, int]],
    shape: tuple[int, int, int],
    grey_scale: float | None,
    target: Path,
    say: Say,
) -> _Decoded:
    """Decode `files` into the memory-mapped file `target`, so that a folder may be larger than memory."""
    images: Images = np.lib.format.open_memmap(target, mode="w+", dtype=np.uint8, shape=(len(files), *shape))

    def decode_into(row: int) -> str | None:
        try:
            images[row] = decode(files[row][0], shape, grey_scale)
        except MemoryError:
            raise
        except Exception as error:  # of any kind: Pillow raises what the first wrong byte of a file leads to
            return f"{shown(files[row][0].relative_to(folder))} ({problem_of(error)})"
        return None

    with ThreadPoolExecutor() as pool:  # Pillow releases the GIL while it decodes and resizes
        problems = list(pool.map(decode_into, range(len(files))))
    unreadable = [problem for problem in problems if problem]
    why = ""
    if unreadable:
        more = "" if len(unreadable) <= 5 else f", and {len(unreadable) - 5:,} more"
        why = f"{len(unreadable):,} of {len(files):,} files left out: {'; '.join(unreadable[:5])}{more}"
        say(f"{shown(folder)}: {why}")
    readable = np.flatnonzero([problem is None for problem in problems]).astype(np.int64)
    labels = np.array([label for _, label in files], dtype=np.int64)[readable]
    if unreadable:
        images = _take(images, readable, target.with_suffix(".readable.npy"))
    return _Decoded(images, labels, readable, why)


def _take(images: Images, rows: IndexArray, target: Path) -> Images:
    """Copy `rows` of `images` into the memory-mapped file `target`, one chunk at a time."""
    taken = np.lib.format.open_memmap(target, mode="w+", dtype=np.uint8, shape=(len(rows), *images.shape[1:]))
    for start in range(0, len(rows), 1024):
        taken[start : start + 1024] = images[rows[start : start + 1024]]
    return taken
