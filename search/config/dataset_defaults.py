"""What differs from the models' own defaults for each data set; a configuration file and flags come on top."""

from __future__ import annotations

from typing import Any

SMALL_GREY: dict[str, Any] = {
    "max_epochs": 27,
    "grace_epochs": 3,
    "space": {
        "channels": [8, 12, 16, 24, 32, 48, 64, 96, 128],
        "blocks": [1, 8],
        "min_params": 200_000,
        "max_params": 250_000,
    },
    "recipe": {"crop_padding": 2, "flip": False, "cutout": 0},
}

DATASET_DEFAULTS: dict[str, dict[str, Any]] = {
    # Two cores, a minute and a half: 16x16 images, at most 40,000 parameters, three rungs.
    "digits": {
        "trials": 12,
        "max_epochs": 18,
        "grace_epochs": 2,
        "space": {
            "stages": [2, 3],
            "blocks": [1, 3],
            "channels": [8, 12, 16, 24, 32],
            "min_params": 20_000,
            "max_params": 40_000,
        },
        "recipe": {"batch_size": 64, "crop_padding": 2, "flip": False, "cutout": 0, "rotation_degrees": 10.0},
    },
    "mnist": SMALL_GREY,
    "fashion-mnist": SMALL_GREY | {"recipe": {"crop_padding": 2, "flip": True, "cutout": 8}},
    # A mirrored digit is another picture, so house numbers are not flipped.
    "svhn": {"recipe": {"flip": False}},
}


def dataset_defaults(dataset: str) -> dict[str, Any]:
    """The overrides for `dataset`; none for one that is not listed."""
    return DATASET_DEFAULTS.get(dataset, {})
