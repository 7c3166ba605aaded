"""Images without labels from a folder of image files or a .npy file, in the shape of a data set's images."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from trainables.data.file_names import shown, utf8_name
from trainables.data.folders.walk import SUFFIXES
from trainables.data.images import decode, problem_of, quiet_pillow
from trainables.data.stored_arrays import Images
from trainables.errors import DatasetError

NPY_MAGIC = b"\x93NUMPY"


@dataclass(frozen=True, eq=False)
class UnlabelledImages:
    """Images in a stable order, each with an id."""

    ids: tuple[str, ...]
    """The stems of the files, with bytes that are not UTF-8 escaped, or the positions in the array, from 0."""
    shape: tuple[int, int, int]
    """(H, W, C)."""
    source: tuple[Path, ...] | Images
    """One file per image, or the array (N, H, W, C) itself."""
    grey_scale: float | None = None
    """That of the training images."""

    left_out: dict[str, str] = field(default_factory=dict)
    """By id, the files that `batches` could not read, with the reason."""

    def batches(self, size: int) -> Iterator[Images]:
        """The images in their order as uint8 (up to `size`, H, W, C), without the files that are not readable images.

        Raises:
            DatasetError: no file is a readable image.
        """
        with ThreadPoolExecutor() as pool:  # Pillow releases the GIL while it decodes and resizes
            for start in range(0, len(self.ids), size):
                part = self.source[start : start + size]
                if isinstance(part, tuple):
                    with quiet_pillow():
                        decoded = list(pool.map(self._decoded, self.ids[start : start + size], part))
                    readable = [image for image in decoded if image is not None]
                    if readable:
                        yield np.stack(readable)
                else:
                    yield np.array(part)
        if len(self.left_out) == len(self.ids) and isinstance(self.source, tuple):
            raise DatasetError(f"{shown(self.source[0].parent)}: no image is readable ({self.summary()}); replace them")

    def readable_ids(self) -> tuple[str, ...]:
        """The ids of the images that `batches` has given."""
        return tuple(name for name in self.ids if name not in self.left_out)

    def summary(self) -> str:
        """The files that were left out, counted, and the first of them named; empty if there are none."""
        named = [self.left_out[name] for name in self.ids if name in self.left_out]
        more = "" if len(named) <= 5 else f", and {len(named) - 5:,} more"
        return f"{len(named):,} of {len(self.ids):,} files left out: {'; '.join(named[:5])}{more}" if named else ""

    def _decoded(self, name: str, path: Path) -> Images | None:
        try:
            return decode(path, self.shape, self.grey_scale)
        except MemoryError:
            raise
        except Exception as error:  # of any kind: Pillow raises what the first wrong byte of a file leads to
            self.left_out[name] = f"{shown(path.name)} ({problem_of(error)})"
            return None


def open_unlabelled(path: Path, shape: tuple[int, int, int], grey_scale: float | None = None) -> UnlabelledImages:
    """The images of the folder or .npy file `path`, for a network that takes images of `shape` (H, W, C).

    A folder is flat and read in the natural order of its names (2 before 10); its images are turned upright, cropped,
    resized and converted like those of an image folder, grey ones above 8 bits with the `grey_scale` of the training
    images. A .npy file holds uint8 (N, H, W, C), or (N, H, W) for
    grayscale images, of exactly that shape.

    Raises:
        DatasetError: there are no images, or they have another type or shape.
    """
    if path.is_dir():
        return _folder(path, shape, grey_scale)
    if not path.exists():
        raise DatasetError(f"{shown(path)}: neither a folder nor a file; check the path")
    return _array(path, shape)


def _folder(folder: Path, shape: tuple[int, int, int], grey_scale: float | None) -> UnlabelledImages:
    try:
        entries = [path for path in folder.iterdir() if not path.name.startswith(".")]
    except OSError as error:
        raise DatasetError(f"{shown(folder)}: cannot be listed ({error.strerror}); check its permissions") from error
    files = sorted(
        (path for path in entries if path.suffix.lower() in SUFFIXES and path.is_file()),
        key=lambda path: (natural_key(path.stem), path.name),
    )
    if not files:
        below = ", or give one of its folders" if any(path.is_dir() for path in entries) else ""
        raise DatasetError(
            f"{shown(folder)}: no images; put files such as 1.png ({', '.join(sorted(SUFFIXES))}) there{below}"
        )
    seen: dict[str, Path] = {}
    for path in files:
        if path.stem in seen:
            both = f"{shown(seen[path.stem].name)} and {shown(path.name)}"
            raise DatasetError(f"{shown(folder)}: {both} have the same id; rename one of them")
        seen[path.stem] = path
    return UnlabelledImages(tuple(map(utf8_name, seen)), shape, tuple(files), grey_scale)


def natural_key(text: str) -> list[tuple[bool, int, str]]:
    """A sort key that orders the numbers inside names by value: img2 before img10."""
    parts = re.findall("[0-9]+|[^0-9]+", text)
    return [(False, int(part), part) if part[0] in "0123456789" else (True, 0, part) for part in parts]


def _array(path: Path, shape: tuple[int, int, int]) -> UnlabelledImages:
    try:
        with path.open("rb") as file:
            magic = file.read(len(NPY_MAGIC))
        if magic != NPY_MAGIC:
            raise DatasetError(
                f"{shown(path)}: not a .npy file; pickles such as CIFAR's batches are not read, because loading them "
                f"runs code: save the images with numpy.save as uint8 (N, {', '.join(map(str, shape))}), "
                "or give a folder"
            )
        images = np.load(path, mmap_mode="r", allow_pickle=False)
    except OSError as error:
        raise DatasetError(f"{shown(path)}: cannot be read ({error.strerror or error}); check the file") from error
    except (ValueError, EOFError) as error:
        if isinstance(error, DatasetError):
            raise
        raise DatasetError(
            f"{shown(path)}: not a complete array of numbers ({error}); write it with numpy.save"
        ) from error
    expected = f"uint8 (N, {', '.join(map(str, shape))})" + (
        f" or (N, {shape[0]}, {shape[1]})" if shape[2] == 1 else ""
    )
    found = f"{images.dtype} {images.shape}"
    if images.ndim == 3 and shape[2] == 1:
        images = images[..., np.newaxis]
    if images.dtype != np.uint8 or images.shape[1:] != shape:
        raise DatasetError(f"{shown(path)}: holds {found}, but the network takes {expected}; convert it")
    if not len(images):
        raise DatasetError(f"{shown(path)}: holds no images; give at least one")
    return UnlabelledImages(tuple(map(str, range(len(images)))), shape, images)
