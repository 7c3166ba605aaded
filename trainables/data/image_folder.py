"""A folder of images as a data set, with one folder per class: PATH/class, or PATH/train/class and PATH/test/class."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from trainables.data.cache import Say
from trainables.data.folder_scan import checked_image_size, require_two_each, scan_folder
from trainables.data.images import decode, is_grayscale
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
    return DatasetInfo(str(folder), (channels, size, size), len(scan.class_names), train_images, test_images)


def prepare_folder(folder: Path, image_size: int | None, scratch: Path, say: Say) -> RawArrays:
    """Decode every image of `folder` to a square of side `image_size`, RGB unless all images are grayscale.

    Unreadable files are reported through `say`, counted and left out. Raises DatasetError when a class is left with
    fewer than 2 images, or the test folder with none.
    """
    scan = scan_folder(folder)
    size = checked_image_size(image_size)
    if scan.val_ignored:
        say(f"{folder}: val/ is not read; the validation split is taken from train/")
    channels = 1 if is_grayscale(path for path, _ in (*scan.train, *scan.test)) else 3
    images, labels = _decode_all(folder, scan.train, (size, size, channels), scratch / "train.npy", say)
    require_two_each(folder, scan.class_names, labels.tolist())
    source = f"the image folder {folder}"
    if scan.test:
        test_images, test_labels = _decode_all(folder, scan.test, (size, size, channels), scratch / "test.npy", say)
        if not len(test_labels):
            raise DatasetError(f"no file in {folder / 'test'} is a readable image; replace them, or remove test/")
        return RawArrays(images, labels, test_images, test_labels, scan.class_names, source)
    train, test = stratified_split(labels, TEST_FRACTION, seed=0)
    return RawArrays(
        _take(images, train, scratch / "kept.npy"),
        labels[train],
        _take(images, test, scratch / "held_out.npy"),
        labels[test],
        scan.class_names,
        source,
    )


def _decode_all(
    folder: Path, files: Sequence[tuple[Path, int]], shape: tuple[int, int, int], target: Path, say: Say
) -> tuple[Images, Labels]:
    """Decode `files` into the memory-mapped file `target`, so that a folder may be larger than memory."""
    images = np.lib.format.open_memmap(target, mode="w+", dtype=np.uint8, shape=(len(files), *shape))

    def decode_into(row: int) -> str | None:
        try:
            images[row] = decode(files[row][0], shape)
        except (OSError, ValueError, SyntaxError) as error:  # Pillow raises SyntaxError for a broken PNG chunk
            return f"{files[row][0].relative_to(folder)} ({' '.join(str(error).split())})"
        return None

    with ThreadPoolExecutor() as pool:  # Pillow releases the GIL while it decodes and resizes
        problems = list(pool.map(decode_into, range(len(files))))
    unreadable = [problem for problem in problems if problem]
    if unreadable:
        more = "" if len(unreadable) <= 5 else f", and {len(unreadable) - 5:,} more"
        say(f"{folder}: {len(unreadable):,} of {len(files):,} files left out: {'; '.join(unreadable[:5])}{more}")
    readable = np.flatnonzero([problem is None for problem in problems]).astype(np.int64)
    labels = np.array([label for _, label in files], dtype=np.int64)[readable]
    return _take(images, readable, target.with_suffix(".readable.npy")) if unreadable else images, labels


def _take(images: Images, rows: IndexArray, target: Path) -> Images:
    """Copy `rows` of `images` into the memory-mapped file `target`, one chunk at a time."""
    taken = np.lib.format.open_memmap(target, mode="w+", dtype=np.uint8, shape=(len(rows), *images.shape[1:]))
    for start in range(0, len(rows), 1024):
        taken[start : start + 1024] = images[rows[start : start + 1024]]
    return taken
