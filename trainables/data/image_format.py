"""What a network expects of its images, which is all that predictions and an exported file need of a data set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class ImageFormat:
    """The shape, the scale and the classes of the images that a network was trained on."""

    name: str
    """As in `DatasetInfo.name`."""
    shape: tuple[int, int, int]
    """(H, W, C)."""
    mean: tuple[float, ...]
    """Per channel, in units of [0, 1]."""
    std: tuple[float, ...]
    """Per channel, in units of [0, 1]."""
    class_names: tuple[str, ...]
    """Name of each label."""
    sha256: str
    """`TrainingSet.sha256`."""
    grey_scale: float | None = None
    """The value that became 255 in grey images above 8 bits; None if there were none."""

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON-compatible values; `from_dict` inverts it."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ImageFormat:
        """The format whose `to_dict` is `values`; KeyError or TypeError for anything else."""
        height, width, channels = values["shape"]
        return cls(
            values["name"],
            (height, width, channels),
            tuple(values["mean"]),
            tuple(values["std"]),
            tuple(values["class_names"]),
            values["sha256"],
            values["grey_scale"],
        )
