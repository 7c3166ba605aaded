"""The test set of a data set; only the final evaluation imports this module, which a test checks."""

from dataclasses import dataclass
from pathlib import Path

from trainables.data.cache import Say, cache_root, open_part, silent
from trainables.data.sources import find_source
from trainables.data.splits import TEST_FRACTION
from trainables.data.stored_arrays import Images, Labels, part_sha256


@dataclass(frozen=True, eq=False)
class TestSet:
    """A test set, with the statistics of the training set for its normalisation."""

    __test__ = False  # pytest would collect a class of this name

    name: str
    """As in `DatasetInfo.name`."""
    images: Images
    """uint8 (N, H, W, C), mapped from disk copy-on-write."""
    labels: Labels
    """int64 (N,)."""
    mean: tuple[float, ...]
    """Per channel of the training set, in units of [0, 1]."""
    std: tuple[float, ...]
    """Per channel of the training set, in units of [0, 1]."""
    classes: int
    """Number of classes."""
    class_names: tuple[str, ...]
    """Name of each label."""
    train_sha256: str
    """`TrainingSet.sha256` of the matching training set; images of another training set may be in this test set."""
    sha256: str
    """SHA-256 of the images and labels."""


def load_test_set(
    name: str,
    data_dir: str | Path | None = None,
    *,
    image_size: int | None = None,
    test_share: float = TEST_FRACTION,
    val_folder: bool = True,
    on_message: Say | None = None,
) -> TestSet:
    """Open the test set of `name`, prepare the data set in the cache if necessary, and compare its checksums.

    The arguments are those of `load_training_set`. Raises DatasetError when the data set cannot be obtained.
    """
    root = cache_root(data_dir)
    source = find_source(name, root, image_size, test_share, val_folder)
    part = open_part(root, source.key, source.name, "test", source.prepare, on_message or silent, full=True)
    return TestSet(
        name=source.name,
        images=part.images,
        labels=part.labels,
        mean=tuple(part.meta["mean"]),
        std=tuple(part.meta["std"]),
        classes=part.meta["classes"],
        class_names=tuple(part.meta["class_names"]),
        train_sha256=part.meta["arrays"]["train_images"]["sha256"],
        sha256=part_sha256(part.meta, "test"),
    )
