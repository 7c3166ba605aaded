"""Published networks of few parameters on CIFAR-10, as marks beside a search's own trials."""

from __future__ import annotations

from typing import Final, NamedTuple


class Published(NamedTuple):
    """A network trained from scratch on all training images, with its accuracy on the test set."""

    params: int
    network: str
    epochs: int | None
    """None where the source does not say."""
    test_accuracy: float
    """In [0, 1]."""
    source: str


CIFAR10: Final = (
    Published(60_000, "WRN-16-2, separable", 200, 0.9156, "BSConv, arXiv 2003.13549"),
    Published(78_666, "ResNet-8, MLPerf Tiny", 500, 0.879, "D-X-Y/AutoDL-Projects"),
    Published(97_530, "two stages of mixed depthwise convolutions", 200, 0.944, "xvel/cifar10-tiniest, mean of 5"),
    Published(120_000, "WRN-28-2, separable", 200, 0.9313, "BSConv, arXiv 2003.13549"),
    Published(170_000, "WRN-40-2, separable", 200, 0.9355, "BSConv, arXiv 2003.13549"),
    Published(180_000, "WRN-16-1", 200, 0.9111, "BSConv, arXiv 2003.13549"),
    Published(240_000, "WRN-28-3, separable", 200, 0.9428, "BSConv, arXiv 2003.13549"),
    Published(272_474, "ResNet-20", 164, 0.9125, "He et al., arXiv 1512.03385"),
    Published(360_000, "bottleneck of 16 groups with squeeze", 180, 0.9468, "iamVarunAnand/image_classification"),
    Published(370_000, "WRN-28-1", 200, 0.9236, "BSConv, arXiv 2003.13549"),
    Published(442_320, "separable ResNet 9-6-3", 240, 0.9545, "pierandom/separable-resnet"),
    Published(690_000, "DenseNet-BC-40 k24", None, 0.9548, "osmr/imgclsmob"),
    Published(770_000, "DenseNet-BC-100 k12", None, 0.9584, "osmr/imgclsmob"),
    Published(860_000, "ResNet-56 with squeeze", None, 0.9587, "osmr/imgclsmob"),
    Published(2_360_000, "WRN-28-10, separable", 200, 0.9602, "BSConv, arXiv 2003.13549"),
    Published(3_900_000, "PyramidNet-110", None, 0.9702, "osmr/imgclsmob"),
)
"""In the order of their parameters; most are single trainings whose authors watched the test set."""


def published(dataset: str, least: float, most: float) -> list[Published]:
    """The published networks for this data set with `least` to `most` parameters."""
    return [network for network in CIFAR10 if dataset == "cifar10" and least <= network.params <= most]
