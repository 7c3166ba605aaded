"""The data sets for a search, and the training set of each: images mapped from disk, splits, statistics.

The test set is not here: `trainables.data.test_set` opens it, and only the final evaluation imports that module.
"""

import contextlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trainables.data.cache import Say, cache_root, drop_older, open_part, silent
from trainables.data.image_format import ImageFormat
from trainables.data.known_datasets import DATASETS, DatasetInfo
from trainables.data.sources import find_source
from trainables.data.splits import TEST_FRACTION, VAL_FRACTION, IndexArray, stratified_split, stratified_subset
from trainables.data.stored_arrays import DamagedError, Images, Labels, part_sha256, read_meta
from trainables.errors import DatasetError

__all__ = ["DATASETS", "DatasetInfo", "TrainingSet", "dataset_info", "load_training_set"]


@dataclass(frozen=True, eq=False)
class TrainingSet:
    """A training set, its validation split and its statistics."""

    name: str
    """As in `DatasetInfo.name`."""
    images: Images
    """uint8 (N, H, W, C), mapped from disk copy-on-write: processes share its pages as long as none writes to them."""
    labels: Labels
    """int64 (N,), mapped in the same way."""
    train_indices: IndexArray
    """Sorted positions to train on."""
    val_indices: IndexArray
    """Sorted positions to validate on, whatever `train_images` is."""
    mean: tuple[float, ...]
    """Per channel, in units of [0, 1], over the whole stored training set."""
    std: tuple[float, ...]
    """Per channel, in units of [0, 1], over the whole stored training set."""
    classes: int
    """Number of classes."""
    class_names: tuple[str, ...]
    """Name of each label."""
    sha256: str
    """SHA-256 of the image bytes, the same for the same data from any source."""
    test_sha256: str | None = None
    """`TestSet.sha256` of the matching test set, which was not opened; None for a set that was made up in memory."""
    grey_scale: float | None = None
    """The value that became 255 in grey images above 8 bits; None if there were none."""

    own_validation: bool = False
    """Whether `val_indices` are a validation part of its own, not drawn from the training images."""

    @property
    def used(self) -> IndexArray:
        """Sorted positions of the images that are trained on or validated on."""
        return np.union1d(self.train_indices, self.val_indices)

    @property
    def format(self) -> ImageFormat:
        """What a network that is trained on it expects of its images."""
        height, width, channels = self.images.shape[1:]
        shape = (height, width, channels)
        return ImageFormat(self.name, shape, self.mean, self.std, self.class_names, self.sha256, self.grey_scale)

    @property
    def identity(self) -> dict[str, object]:
        """The identity of these training images, as JSON-compatible values."""
        return {"sha256": self.sha256, "train_images": len(self.train_indices)}


def dataset_info(
    name: str,
    image_size: int | None = None,
    data_dir: str | Path | None = None,
    *,
    test_share: float = TEST_FRACTION,
    val_folder: bool = True,
) -> DatasetInfo:
    """Return the facts of a data set by name, or of an image folder by path, without preparing it.

    A name takes precedence over a folder of the same name; write ./digits for the folder. `image_size` applies to
    folders and is 32 by default. `data_dir` is the cache; a folder that is prepared there has exact counts, and no
    image of it is opened. `test_share` and `val_folder` are those of `load_training_set`. Raises DatasetError for an
    unknown name, with the nearest known one.
    """
    root = cache_root(data_dir)
    source = find_source(name, root, image_size, test_share, val_folder)
    meta = None
    with contextlib.suppress(DamagedError):  # not prepared yet
        meta = read_meta(root / source.key) if source.files else None
    return source.info(meta)


def load_training_set(
    name: str,
    data_dir: str | Path | None = None,
    *,
    image_size: int | None = None,
    train_images: int | None = None,
    split_seed: int = 0,
    validation_share: float = VAL_FRACTION,
    test_share: float = TEST_FRACTION,
    val_folder: bool = True,
    all_data: bool = False,
    on_message: Say | None = None,
) -> TrainingSet:
    """Open the training set of `name`, and prepare it in the cache the first time.

    The validation split is the val/ of an image folder that has one, unless `val_folder` is False; otherwise a
    stratified `validation_share`, drawn with `split_seed`. `train_images` takes that many of the rest, stratified too,
    and does not change the validation split. With `all_data` there is none, and all images are trained on. A source
    without a test set loses a stratified `test_share` first. Raises DatasetError when the data set cannot be obtained
    or has too few images.
    """
    root = cache_root(data_dir)
    say = on_message or silent
    source = find_source(name, root, image_size, test_share, val_folder)
    part = open_part(root, source.key, source.name, "train", source.prepare, say)
    if source.files:
        drop_older(root, source.name, source.files, say)
    if own := part.meta.get("val_images", 0):
        train_indices, val_indices = np.split(np.arange(len(part.labels), dtype=np.int64), [len(part.labels) - own])
    else:
        train_indices, val_indices = stratified_split(part.labels, validation_share, split_seed)
    if all_data:
        train_indices, val_indices = np.arange(len(part.labels), dtype=np.int64), val_indices[:0]
    if len(train_indices) < 2:
        raise DatasetError(f"{source.name} has {len(train_indices)} image to train on, but at least 2 are needed")
    if train_images is not None:
        train_indices = stratified_subset(train_indices, part.labels, train_images, split_seed)
    return TrainingSet(
        name=source.name,
        images=part.images,
        labels=part.labels,
        train_indices=train_indices,
        val_indices=val_indices,
        mean=tuple(part.meta["mean"]),
        std=tuple(part.meta["std"]),
        classes=part.meta["classes"],
        class_names=tuple(part.meta["class_names"]),
        sha256=part.meta["arrays"]["train_images"]["sha256"],
        test_sha256=part_sha256(part.meta, "test"),
        grey_scale=part.meta.get("grey_scale"),
        own_validation=bool(own),
    )
