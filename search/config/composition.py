"""How a run's configuration is composed: of defaults, a file and flags, in this order."""

from __future__ import annotations

import codecs
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from search.config.dataset_defaults import dataset_defaults, folder_defaults, nested_defaults
from search.config.problems import one_line, problems_of, refuse_misplaced
from search.config.quantities import read_quantities
from search.config.run_config import RunConfig
from search.errors import ConfigError
from search.recipes.table import over_defaults
from trainables.data import dataset_info
from trainables.data.datasets import DatasetInfo
from trainables.data.splits import TEST_FRACTION


def compose(file: Path | None, space_file: Path | None, flags: Mapping[str, Any], sets: Iterable[str]) -> RunConfig:
    """The configuration of defaults < `file` < `space_file` < `flags` < `sets` (each `key.key=value`).

    Raises:
        ConfigError: a file cannot be read, or values are wrong; the message lists all problems.
        DatasetError: the data set is unknown.
    """
    given: dict[str, Any] = {}
    if file is not None:
        content = read_toml(file)
        refuse_misplaced(file, content, RunConfig, of_space=False)
        merge(given, content)
    if space_file is not None:
        content = read_toml(space_file)
        refuse_misplaced(space_file, content, RunConfig, of_space=True)
        merge(given, {"space": content})
    merge(given, _assigned(flags, sets))
    if "earlier_max_epochs" in given:
        raise ConfigError("earlier_max_epochs: recorded by resumes that change max_epochs; leave it out")
    return validated(given)


def flags_of(flags: Mapping[str, Any], sets: Iterable[str]) -> dict[str, Any]:
    """The keys given on the command line: `flags`, then `sets` on top, with quantities as numbers.

    Raises:
        ConfigError: one of `sets` is not `key=value`, or a quantity cannot be read.
    """
    given, unread = read_quantities(_assigned(flags, sets))
    if unread:
        raise ConfigError(one_line(unread))
    return given


def _assigned(flags: Mapping[str, Any], sets: Iterable[str]) -> dict[str, Any]:
    given: dict[str, Any] = {}
    merge(given, flags)
    for assignment in sets:
        merge(given, _parse_assignment(assignment))
    return given


def validated(given: Mapping[str, Any], *, complete: bool = False) -> RunConfig:
    """The configuration of the values `given`, on top of the data set's defaults.

    A `complete` one, as a run keeps it, has every key, and needs no data set.

    Raises:
        ConfigError: values are wrong; the message lists all problems.
        DatasetError: the data set is unknown.
    """
    given, unread = read_quantities(given)
    dataset = given.get("dataset", RunConfig.model_fields["dataset"].default)
    if not isinstance(dataset, str):
        raise ConfigError(f"dataset: {dataset!r} given; use a name or a path")
    info = None if complete else _info(dataset, given)
    values: dict[str, Any] = {"space": _space_facts(info) if info else {}, "recipe": {}}
    space, recipe = given.get("space"), given.get("recipe")
    defaults = dataset_defaults(dataset)
    of_folder = info is not None and info.is_folder
    if info is not None and of_folder:
        defaults = nested_defaults(folder_defaults(info, *_budget(space)))
    if isinstance(space, Mapping) and space.get("layouts"):
        # A list of layouts is not made of the data set's usual choices, and needs no floor; the budget is the same.
        budget = {name: value for name, value in defaults.get("space", {}).items() if name == "max_params"}
        defaults = {**defaults, "space": {"min_params": 0, **budget}}
    merge(values, {**defaults, "recipe": {}})
    if "max_epochs" in given and "grace_epochs" not in given:
        # A short run needs a first rung inside it; the default grace period is for the default length.
        usual = values.get("grace_epochs", RunConfig.model_fields["grace_epochs"].default)
        longest = given["max_epochs"]
        # A max_epochs below 1 is refused by its own name; a grace_epochs below 1 would be refused beside it.
        values["grace_epochs"] = max(1, min(usual, longest)) if isinstance(longest, int) else usual
    splits = given.get("validation_splits")
    if isinstance(splits, int) and splits > 1:
        values["replicates"] = splits
    merge(values, given)
    if recipe is None or isinstance(recipe, Mapping):
        values["recipe"] = over_defaults(recipe or {}, defaults.get("recipe", {}))
    if not of_folder:
        _scale_floor(values["space"], given.get("space"))
    problems = list(unread)
    if info is not None:
        values["dataset"] = info.name  # an image folder's absolute path: trials run in folders of their own
        problems += _belongs_elsewhere(given, info)
        if info.val_images and isinstance(splits, int) and splits > 1:
            problems.append(
                f"validation_splits: {splits} given, but {info.name} has its own validation images; leave it out, or "
                "set val_folder to false"
            )
    try:
        config = RunConfig.model_validate(values)
    except ValidationError as error:
        problems += problems_of(error, RunConfig)
        raise ConfigError(one_line(problems)) from None
    if problems:
        raise ConfigError(one_line(problems))
    return config


def _info(dataset: str, given: Mapping[str, Any]) -> DatasetInfo:
    """The facts of the data set; a value of a wrong type is left out here and refused with all others."""
    size, share, data_dir = (given.get(key) for key in ("image_size", "test_share", "data_dir"))
    return dataset_info(
        dataset,
        size if isinstance(size, int) else None,
        data_dir if isinstance(data_dir, str) else None,
        test_share=share if isinstance(share, float) and 0 < share <= 0.5 else TEST_FRACTION,
        val_folder=given.get("val_folder", True) is not False,
    )


def _budget(space: Any) -> tuple[int | None, int | None]:
    """The most and the fewest parameters that are given, as far as they can be."""
    given = space if isinstance(space, Mapping) else {}
    most, least = (
        value if isinstance(value := given.get(key), int) and 0 <= value <= 2**62 else None
        for key in ("max_params", "min_params")
    )
    return most or None, least


def read_toml(path: Path) -> dict[str, Any]:
    """The content of a TOML file.

    Raises:
        ConfigError: it cannot be read or is not TOML.
    """
    try:
        content = path.read_bytes()
        if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in content[:4]:
            raise ConfigError(f"{path}: is in UTF-16 or UTF-32, and TOML is in UTF-8; save it as UTF-8")
        return tomllib.loads(content.decode("utf-8-sig").replace("\r\n", "\n"))  # Windows editors write the mark
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); check the path") from None
    except ValueError as error:  # not TOML, not UTF-8, or a number of more digits than Python reads
        raise ConfigError(f"{path}: not valid TOML ({error})") from None


def _parse_assignment(assignment: str) -> dict[str, Any]:
    key, equals, text = assignment.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"--set {assignment}: no value; write --set key=value, for example recipe.learning_rate=0.05")
    try:
        value: Any = tomllib.loads(f"value = {text}")["value"]
    except ValueError:  # not TOML, or a number of more digits than Python reads
        value = _plain_words(text.strip())
    for part in reversed(key.strip().split(".")):
        value = {part: value}
    nested: dict[str, Any] = value
    return nested


_WORD = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9][A-Za-z0-9.+_-]*")
"""A name or a layout id: what has a letter and is no number."""


def _plain_words(text: str) -> Any:
    """`text`, or the words and layout ids of a list as [sgd,adamw], whose quotes a shell takes away."""
    words = [word.strip().strip("'\"") for word in text[1:-1].split(",")] if text[:1] + text[-1:] == "[]" else []
    return words if words and all(map(_WORD.fullmatch, words)) else text


def merge(target: dict[str, Any], source: Mapping[str, Any]) -> None:
    """Puts the values of `source` into `target`, table by table."""
    for key, value in source.items():
        if isinstance(value, Mapping) and isinstance(target.get(key), dict):
            merge(target[key], value)
        elif isinstance(value, Mapping):
            target[key] = {}
            merge(target[key], value)
        else:
            target[key] = value


def _scale_floor(space: Any, given: Any) -> None:
    """A budget given without its floor gets one at four fifths of it: among layouts under a cap those near it win.

    A list of layouts is what its user wants to be tried, so it has none.
    """
    if not isinstance(given, Mapping) or given.get("layouts"):
        return
    if "min_params" not in given and isinstance(given.get("max_params"), int):
        space["min_params"] = default_floor(given["max_params"])


def default_floor(max_params: int) -> int:
    """The floor of a budget of `max_params` parameters that is given without one."""
    return max(0, max_params) * 4 // 5


def _space_facts(info: DatasetInfo) -> dict[str, Any]:
    """What a space takes from the data set and from nowhere else."""
    channels, *size = info.image_shape
    return {"in_channels": channels, "classes": info.classes, "image_size": size}


def _belongs_elsewhere(given: Mapping[str, Any], info: DatasetInfo) -> list[str]:
    problems = []
    space = given.get("space")
    for name, fact in _space_facts(info).items():
        if isinstance(space, Mapping) and space.get(name, fact) != fact:
            problems.append(f"space.{name}: {space[name]!r} given, but {info.name} has {fact}; leave it out")
    return problems
