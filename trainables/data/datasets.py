"""The data sets for a search, and the training set of each: images mapped from disk, splits, statistics.

The test set is not here: `trainables.data.test_set` opens it, and only the final evaluation imports that module.
"""

import contextlib
from dataclasses import dataclass, replace
from pathlib import Path

from trainables.data.cache import Say, cache_root, open_part, silent
from trainables.data.folders.preparation import folder_info
from trainables.data.folders.scan import folder_source_key, is_image_folder, resolved_folder
from trainables.data.known_datasets import DATASETS, DatasetInfo, known_dataset
from trainables.data.sources import find_source
from trainables.data.splits import IndexArray, stratified_split, stratified_subset
from trainables.data.stored_arrays import DamagedError, Images, Labels, part_sha256, read_meta

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
    """Sorted positions to validate on; a tenth of the whole set, whatever `train_images` is."""
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

    @property
    def identity(self) -> dict[str, object]:
        """The identity of these training images, as JSON-compatible values."""
        return {"sha256": self.sha256, "train_images": len(self.train_indices)}


def dataset_info(name: str, image_size: int | None = None, data_dir: str | Path | None = None) -> DatasetInfo:
    """Return the facts of a data set by name, or of an image folder by path, without preparing it.

    A name takes precedence over a folder of the same name; write ./digits for the folder. `image_size` applies to
    folders and is 32 by default. `data_dir` is the cache; a folder that is prepared there has exact counts. Raises
    DatasetError for an unknown name, with the nearest known one.
    """
    if name in DATASETS or not is_image_folder(name):
        return known_dataset(name, image_size)
    folder = resolved_folder(name)
    info = folder_info(folder, image_size)
    prepared = cache_root(data_dir) / folder_source_key(folder, image_size)
    with contextlib.suppress(DamagedError):  # not prepared yet
        arrays = read_meta(prepared)["arrays"]
        counts = [arrays[name]["shape"][0] for name in ("train_labels", "test_labels")]
        info = replace(info, train_images=counts[0], test_images=counts[1])
    return info


def load_training_set(
    name: str,
    data_dir: str | Path | None = None,
    *,
    image_size: int | None = None,
    train_images: int | None = None,
    split_seed: int = 0,
    on_message: Say | None = None,
) -> TrainingSet:
    """Open the training set of `name`, and prepare it in the cache the first time.

    A stratified tenth, drawn with `split_seed`, is the validation split. `train_images` takes that many of the rest,
    stratified too, and does not change the validation split. Raises DatasetError when the data set cannot be obtained
    or has fewer images.
    """
    root = cache_root(data_dir)
    source = find_source(name, root, image_size)
    part = open_part(root, source.key, source.name, "train", source.prepare, on_message or silent)
    train_indices, val_indices = stratified_split(part.labels, seed=split_seed)
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
    )
