"""The data sets that torchvision downloads and reads: CIFAR-100, SVHN, Fashion-MNIST, MNIST."""

from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from trainables.data.cache import Say
from trainables.data.downloads import DOWNLOAD_ERRORS, one_line, torchvision_downloads
from trainables.data.stored_arrays import Images, Labels, RawArrays
from trainables.errors import DatasetError

# Name: torchvision's class, a file by which a folder is recognised, and what a user has to put there.
_SETS = {
    "cifar100": ("CIFAR100", "cifar-100-python", "the folder cifar-100-python"),
    "svhn": ("SVHN", "train_32x32.mat", "train_32x32.mat and test_32x32.mat"),
    "fashion-mnist": ("FashionMNIST", "FashionMNIST/raw", "FashionMNIST/raw with its four *-ubyte files"),
    "mnist": ("MNIST", "MNIST/raw", "MNIST/raw with its four *-ubyte files"),
}


def prepare_torchvision_set(name: str, places: Sequence[Path], scratch: Path, say: Say) -> RawArrays:
    """Return the data set `name` from a folder in `places` with torchvision's layout, else from its download.

    `scratch` is an empty folder for downloads, so that the remains of an earlier one are not mistaken for all of it.
    Raises DatasetError, naming everything that was tried, when all of it fails.
    """
    class_name, marker, by_hand = _SETS[name]
    failures = [f"no {marker} in {', '.join(map(str, places))}"]
    with torchvision_downloads() as datasets:
        for place in places:
            if (place / marker).exists():
                try:
                    raw = _read(datasets, class_name, place, f"the folder {place}", download=False)
                except (*DOWNLOAD_ERRORS, ValueError, KeyError) as error:
                    failures.append(f"{place / marker} cannot be read ({one_line(error)})")
                    say(f"{name}: {failures[-1]}; trying the next place")
                else:
                    say(f"{name}: read from the existing folder {place}")
                    return raw
        say(f"{name}: not found on this machine; trying torchvision's download")
        try:
            return _read(datasets, class_name, scratch, "torchvision's download", download=True)
        except (*DOWNLOAD_ERRORS, ValueError, KeyError) as error:
            failures.append(f"torchvision's download failed ({one_line(error)})")
    raise DatasetError(f"{name} could not be obtained: {'; '.join(failures)}; put {by_hand} into one of these places")


def _read(datasets: ModuleType, class_name: str, root: Path, source: str, *, download: bool) -> RawArrays:
    make = getattr(datasets, class_name)
    if class_name == "SVHN":
        train, test = (make(root, split=split, download=download) for split in ("train", "test"))
        names = tuple(str(digit) for digit in range(10))
    else:
        train, test = (make(root, train=is_train, download=download) for is_train in (True, False))
        names = tuple(str(n) for n in train.classes)
    return RawArrays(*_arrays(train), *_arrays(test), names, source)


def _arrays(dataset: Any) -> tuple[Images, Labels]:
    """Return images (N, H, W, C) and labels (N,) of a torchvision data set."""
    images: npt.NDArray[np.uint8] = np.asarray(dataset.data)
    labels = dataset.labels if hasattr(dataset, "labels") else dataset.targets
    if images.ndim == 3:  # the MNIST family: (N, H, W)
        images = images[..., np.newaxis]
    elif images.shape[1] == 3:  # SVHN: (N, C, H, W)
        images = images.transpose(0, 2, 3, 1)
    return images, np.asarray(labels, dtype=np.int64)
