"""A folder of images as a data set, with one folder per class: PATH/class, or PATH/train/class and PATH/test/class."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from trainables.data.cache import Say
from trainables.data.file_names import shown, utf8_name
from trainables.data.folders.scan import FolderScan, checked_image_size, require_two_each, scan_folder
from trainables.data.images import (
    ImageFacts,
    common_grey_scale,
    decode,
    image_facts,
    is_grayscale,
    problem_of,
    quiet_pillow,
)
from trainables.data.known_datasets import DatasetInfo
from trainables.data.splits import TEST_FRACTION, IndexArray, stratified_split
from trainables.data.stored_arrays import Images, Labels, RawArrays
from trainables.errors import DatasetError


def folder_info(folder: Path, image_size: int | None) -> DatasetInfo:
    """Return the facts of an image folder from its list of files and the headers of the images, without decoding any.

    The counts are lower once the folder is prepared and unreadable files are left out.
    """
    scan = scan_folder(folder)
    size = checked_image_size(image_size)
    channels = 1 if is_grayscale(path for path, _ in (*scan.train, *scan.test)) else 3
    train_images, test_images = len(scan.train), len(scan.test)
    if not scan.test:
        held_out = stratified_split(np.array([label for _, label in scan.train]), TEST_FRACTION)[1]
        train_images, test_images = train_images - len(held_out), len(held_out)
    return DatasetInfo(utf8_name(str(folder)), (channels, size, size), len(scan.class_names), train_images, test_images)


def prepare_folder(folder: Path, image_size: int | None, scratch: Path, say: Say) -> RawArrays:
    """Decode every image of `folder` to a square of side `image_size`, RGB unless all images are grayscale.

    The classes and what is passed over are reported through `say`; unreadable files are named, counted and left out.
    Raises DatasetError when a class is left with fewer than 2 images, or the test folder with none.
    """
    scan = scan_folder(folder)
    size = checked_image_size(image_size)
    here = shown(folder)
    say(f"{here}: {_found(scan)}")
    if scan.parts.val:
        say(
            f"{here}: {shown(scan.parts.val.name)}/ is not read; the validation split is taken from "
            f"{shown(scan.parts.train.name)}/"
        )
    with quiet_pillow():
        facts = _all_facts([path for path, _ in (*scan.train, *scan.test)])
        scale = common_grey_scale(facts)
        channels = 1 if all(fact.grey for fact in facts) else 3
        if scale is not None:
            say(f"{here}: grey images above 8 bits; {scale:,g} becomes 255")
        shape = (size, size, channels)
        images, labels, why = _decode_all(folder, scan.train, shape, scale, scratch / "train.npy", say)
        require_two_each(folder, scan.class_names, labels.tolist(), why)
        source = f"the image folder {here}"
        if scan.test:
            test_images, test_labels, why = _decode_all(folder, scan.test, shape, scale, scratch / "test.npy", say)
            if not len(test_labels):
                test_folder = scan.parts.test or folder
                raise DatasetError(
                    f"no file in {shown(test_folder)} is a readable image ({why}); replace them, or remove "
                    f"{shown(test_folder.name)}/"
                )
            _say_untested(scan, test_labels, say)
            return RawArrays(images, labels, test_images, test_labels, scan.class_names, source, scale)
    train, test = stratified_split(labels, TEST_FRACTION, seed=0)
    _say_untested(scan, labels[test], say)
    return RawArrays(
        _take(images, train, scratch / "kept.npy"),
        labels[train],
        _take(images, test, scratch / "held_out.npy"),
        labels[test],
        scan.class_names,
        source,
        scale,
    )


def _found(scan: FolderScan) -> str:
    names = [shown(name) for name in scan.class_names]
    more = "" if len(names) <= 10 else f" and {len(names) - 10:,} more"
    tests = f" for training and {len(scan.test):,} for the test" if scan.test else ""
    passed_over = f"; passed over: {scan.passed_over}" if scan.passed_over else ""
    return f"{len(names):,} classes ({', '.join(names[:10])}{more}), {len(scan.train):,} images{tests}{passed_over}"


def _say_untested(scan: FolderScan, test_labels: Labels, say: Say) -> None:
    without = [shown(name) for label, name in enumerate(scan.class_names) if label not in set(test_labels.tolist())]
    if without:
        more = "" if len(without) <= 5 else f" and {len(without) - 5:,} more"
        say(f"classes without a test image: {', '.join(without[:5])}{more}")


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
) -> tuple[Images, Labels, str]:
    """Decode `files` into the memory-mapped file `target`, so that a folder may be larger than memory.

    Returns images, labels, and the first files that were left out with the reason, empty if there are none.
    """
    images = np.lib.format.open_memmap(target, mode="w+", dtype=np.uint8, shape=(len(files), *shape))

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
    return _take(images, readable, target.with_suffix(".readable.npy")) if unreadable else images, labels, why


def _take(images: Images, rows: IndexArray, target: Path) -> Images:
    """Copy `rows` of `images` into the memory-mapped file `target`, one chunk at a time."""
    taken = np.lib.format.open_memmap(target, mode="w+", dtype=np.uint8, shape=(len(rows), *images.shape[1:]))
    for start in range(0, len(rows), 1024):
        taken[start : start + 1024] = images[rows[start : start + 1024]]
    return taken
