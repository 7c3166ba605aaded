"""The data sets known by name, with their shapes and sizes."""

import difflib
import os
from dataclasses import dataclass, replace
from typing import NamedTuple

from trainables.data.splits import TEST_FRACTION
from trainables.errors import DatasetError


class ClassCount(NamedTuple):
    """The images of one class of an image folder."""

    name: str
    train: int
    """Those of the training set, without its own validation part."""
    val: int
    """Those of its own validation part."""
    test: int


@dataclass(frozen=True)
class DatasetInfo:
    """The facts of a data set that are known without opening it."""

    name: str
    """What `load_training_set` accepts: a key of `DATASETS`, or the absolute path of an image folder."""
    image_shape: tuple[int, int, int]
    """(C, H, W)."""
    classes: int
    """Number of classes; labels are 0 to classes - 1."""
    train_images: int
    """Images of the training set, including the validation split."""
    test_images: int
    """Images of the test set."""
    own_test: bool = True
    """Whether the test set is a part of its own and not drawn from all images."""
    val_images: int = 0
    """How many of the training images are a validation part of its own; 0 if it has none."""
    class_counts: tuple[ClassCount, ...] = ()
    """By class, for an image folder; empty for a known data set."""
    passed_over: str = ""
    """What of an image folder is not used, with counts, in the words of a message; empty for nothing."""

    @property
    def is_folder(self) -> bool:
        """Whether it is an image folder."""
        return bool(self.class_counts)


DATASETS: dict[str, DatasetInfo] = {
    "digits": DatasetInfo("digits", (1, 16, 16), 10, 1_438, 359, own_test=False),
    "cifar10": DatasetInfo("cifar10", (3, 32, 32), 10, 50_000, 10_000),
    "cifar100": DatasetInfo("cifar100", (3, 32, 32), 100, 50_000, 10_000),
    "svhn": DatasetInfo("svhn", (3, 32, 32), 10, 73_257, 26_032),
    "fashion-mnist": DatasetInfo("fashion-mnist", (1, 28, 28), 10, 60_000, 10_000),
    "mnist": DatasetInfo("mnist", (1, 28, 28), 10, 60_000, 10_000),
}


def known_dataset(name: str, image_size: int | None = None, test_share: float = TEST_FRACTION) -> DatasetInfo:
    """Return the facts of the data set called `name`; `test_share` becomes the test set of one without its own.

    Raises DatasetError for an unknown name, with a similar known one, or for another `image_size` than the set's.
    """
    if name not in DATASETS:
        near = [] if os.sep in name else difflib.get_close_matches(name.lower(), DATASETS, n=1)
        remedy = f"did you mean {near[0]!r}?" if near else "check the path" if os.sep in name else "use a known one"
        raise DatasetError(
            f"{name!r} is neither a known data set nor an existing folder; {remedy} "
            f"(known: {', '.join(DATASETS)}, or the path of a folder of class folders)"
        )
    info = DATASETS[name]
    own_size = info.image_shape[1]
    if image_size is not None and image_size != own_size:
        raise DatasetError(
            f"image size {image_size} does not apply to {name}, whose images are {own_size}x{own_size}; "
            "leave it out (it is for image folders)"
        )
    if info.own_test:
        return info
    images = info.train_images + info.test_images
    held_out = int(images * test_share + 0.5)
    return replace(info, train_images=images - held_out, test_images=held_out)
