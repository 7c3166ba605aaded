"""What differs from the models' own defaults for each data set; a configuration file and flags come on top."""

from __future__ import annotations

from typing import Any

from search.recipes.dimensions import shown

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
        "confirm": 1,
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


def default_text(key: str, usual: Any) -> str:
    """The default `usual` of `key`, as in `space.channels`, and those of the data sets that differ; empty for none.

    `5,000,000; digits: 40,000; mnist, fashion-mnist: 250,000`.
    """
    *tables, name = key.split(".")
    differing: dict[str, list[str]] = {}
    for dataset, overrides in DATASET_DEFAULTS.items():
        for table in tables:
            overrides = overrides.get(table, {})
        if name in overrides and (value := shown_value(overrides[name])) != shown_value(usual):
            differing.setdefault(value, []).append(dataset)
    others = [f"{', '.join(datasets)}: {value}" for value, datasets in differing.items()]
    return "; ".join(filter(None, [shown_value(usual), *others]))


def shown_value(value: Any) -> str:
    """A value as people write it: `5,000,000`, `0.0005`, `true`, `[3, 4]`; nothing for None and an empty list."""
    if value is None or value == ():
        return ""
    if isinstance(value, list | tuple):
        return f"[{', '.join(shown(item) for item in value)}]"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else shown(value)
