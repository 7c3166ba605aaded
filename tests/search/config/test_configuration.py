"""Configurations: precedence, files, and what each data set changes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from PIL import Image

from search.config import RunConfig, compose
from search.config.changes import changed
from search.config.composition import flags_of
from search.config.dataset_defaults import DATASET_DEFAULTS
from search.config.flags import config_flag, nested
from search.config.quantities import count, seconds
from search.errors import ConfigError, ResourceError, ResumeError
from search.layouts import LayoutSpace, require_feasible
from search.planning.resources import fitting_concurrency
from search.runs import read_config
from search.runs.folder import new_run_folder, write_run_file
from trainables.data.datasets import DATASETS
from trainables.errors import DatasetError
from trainables.recipe import Recipe


def test_later_sources_win(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text(
        "trials = 5\nseed = 6\n[space]\nmin_params = 21_000\nmax_params = 31_000\n[recipe]\nmomentum = 0.5\n"
    )
    space = tmp_path / "space.toml"
    space.write_text("max_params = 32_000\n")
    config = compose(file, space, {"seed": 7}, ["recipe.momentum=0.25", "space.channels=[8,16]"])
    assert (config.trials, config.seed) == (5, 7)
    assert (config.space.min_params, config.space.max_params) == (21_000, 32_000)
    assert config.space.channels == (8, 16)
    recipe = config.recipe.fixed
    assert recipe is not None
    assert recipe.momentum == 0.25
    assert recipe.batch_size == 64  # the data set's default, which nothing overrides


@pytest.mark.parametrize("dataset", sorted(DATASETS))
def test_every_data_set_has_a_space_that_is_not_empty(dataset: str) -> None:
    config = compose(None, None, {"dataset": dataset}, [])
    assert config.space.in_channels == DATASETS[dataset].image_shape[0]
    assert config.space.classes == DATASETS[dataset].classes
    assert config.max_epochs == config.rungs[-1]
    require_feasible(config.space)


def test_defaults_are_for_known_data_sets_only() -> None:
    assert set(DATASET_DEFAULTS) <= set(DATASETS)


def test_the_default_is_the_documented_space_for_cifar10() -> None:
    config = compose(None, None, {"dataset": "cifar10"}, [])
    assert config.space.stages == (3, 4)
    assert config.space.blocks == (1, 16)
    assert (config.space.channels[0], config.space.channels[-1]) == (16, 512)
    assert (config.space.min_params, config.space.max_params) == (4_000_000, 5_000_000)
    assert config.rungs == (8, 24, 72)
    assert compose(None, None, {"dataset": "cifar10"}, ["space.stages=[3,4,5]"]).space.stages == (3, 4, 5)


def test_a_run_folder_gives_its_configuration_back(tmp_path: Path) -> None:
    config = compose(None, None, {"trials": 3}, ["recipe.cutout=4"])
    write_run_file(tmp_path / "run", config)
    assert read_config(tmp_path / "run") == config


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"format": 1}', b'{"format": 99, "config": {}}'])
def test_a_damaged_run_file_is_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "run.json").write_bytes(content)
    with pytest.raises(ResumeError, match=r"run\.json: [^\n]+$"):
        read_config(tmp_path)


def test_names_made_of_the_time_do_not_collide(tmp_path: Path) -> None:
    first = new_run_folder(tmp_path, None, "./my images")
    first.mkdir(parents=True)
    second = new_run_folder(tmp_path, None, "./my images")
    assert first != second
    assert " " not in first.name


@pytest.mark.parametrize(
    ("text", "expected"), [("90", 90), ("90s", 90), ("45m", 2700), ("1h30m", 5400), ("1.5h", 5400), ("1d", 86400)]
)
def test_durations(text: str, expected: float) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "soon", "1h30", "-5", "5 m", "m"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^time_budget_s: .* given; write seconds or a duration such as 45m"):
        compose(None, None, {"time_budget_s": text}, [])


@pytest.mark.parametrize("value", ["9" * 400, "1e400", "99999999d", "inf", "1e300", "1e11"])
def test_a_time_that_overflows_is_refused(value: str) -> None:
    with pytest.raises(ConfigError, match=r"^time_budget_s: .{0,90}; (use|write) .* as (1h30m|45m, 2h or 1h30m)$"):
        compose(None, None, {}, [f"time_budget_s={value}"])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        *(("300000", 300_000), ("300_000", 300_000), ("300,000", 300_000), ("3e5", 300_000), ("300k", 300_000)),
        *(("0.3M", 300_000), ("5M", 5_000_000), ("1.25 M", 1_250_000), ("2g", 2 * 10**9), ("0", 0), ("-7", -7)),
        *(("1.0", 1), ("1.50k", 1500)),
    ],
)
def test_counts(text: str, expected: int) -> None:
    assert count(text) == expected


@pytest.mark.parametrize("text", ["", "many", "1.5", "1.2345k", "5MB", "k", "1,00", "1e-3", "nan", "inf", "true"])
def test_what_is_no_count_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^trials: .* given; use a whole number"):
        compose(None, None, {"trials": text}, [])


@pytest.mark.parametrize("text", ["9" * 5000, "1e999999999999", "9e99T"])
def test_a_count_beyond_all_numbers_is_refused(text: str) -> None:
    for key in ("trials", "space.max_params", "seed"):
        with pytest.raises(ConfigError, match=f"^{key}: .{{0,60}}; use at most") as caught:
            compose(None, None, nested({key: text}), [])
        assert len(str(caught.value)) < 200


COUNTS = [
    *(
        name
        for name, field in RunConfig.model_fields.items()
        if re.search(r"^(?!tuple).*\bint\b", str(field.annotation))
    ),
    *(f"space.{name}" for name in LayoutSpace.model_fields if name.startswith(("min_", "max_"))),
]
NUMBERS = [
    *(f"space.{name}" for name in ("stages", "blocks", "channels", "kernels", "strides", "groups", "skip_kernels")),
    *(f"recipe.{name}" for name, field in Recipe.model_fields.items() if type(field.default) in (int, float)),
    *("time_budget_s", "gpus_per_trial"),
]


@pytest.mark.parametrize("key", [*COUNTS, *NUMBERS])
@pytest.mark.parametrize("value", ["true", "false", "nan", "[true, 3]", "{low = true, high = 3}"])
def test_neither_a_bool_nor_nan_is_a_number(key: str, value: str) -> None:
    with pytest.raises(ConfigError, match=rf"{key}[a-z.0-9]*: "):
        compose(None, None, {}, [f"{key}={value}"])


@pytest.mark.parametrize("key", COUNTS)
def test_every_count_is_read_with_a_suffix_from_flags_files_and_sets(key: str, tmp_path: Path) -> None:
    outcomes = []
    file = tmp_path / "all.toml"
    file.write_text(f'{key} = "0.004k"\n')
    for given in ((file, {}, []), (None, {}, [f"{key}=0.004k"]), (None, {}, [f"{key}=4"])):
        try:
            outcomes.append(compose(given[0], None, given[1], given[2]))
        except (ConfigError, DatasetError) as error:
            outcomes.append(str(error))
    assert outcomes[0] == outcomes[1] == outcomes[2]
    assert "whole number" not in str(outcomes[0])


def test_a_budget_with_a_suffix_has_the_floor_of_the_number(tmp_path: Path) -> None:
    before = compose(None, None, {"space": {"max_params": "20k"}}, [])
    assert (before.space.min_params, before.space.max_params) == (16_000, 20_000)
    after = changed(before, flags_of({"space": {"max_params": "3e4"}}, ["trials=1k"])).config
    assert (after.space.min_params, after.space.max_params, after.trials) == (24_000, 30_000, 1_000)


@pytest.mark.parametrize(
    ("flags", "cpus", "gpus", "expected"),
    [
        ({}, 2, 0, 2),
        ({"cpus_per_trial": 2}, 5, 0, 2),
        ({"gpus_per_trial": 0.5}, 16, 1, 2),
        ({"gpus_per_trial": 0.3}, 16, 2, 6),
        ({"gpus_per_trial": 1}, 16, 5, 5),
        ({"gpus_per_trial": 0.5}, 1, 1, 1),
        ({"concurrency": 1}, 8, 0, 1),
    ],
)
def test_concurrency_follows_from_the_resources(
    flags: dict[str, float], cpus: float, gpus: float, expected: int
) -> None:
    assert fitting_concurrency(compose(None, None, flags, []).resources, [(cpus, gpus)], "here") == expected


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"cpus_per_trial": 3}, "cpus_per_trial: 3 requested, but here has 2"),
        ({"gpus_per_trial": 0.5}, "gpus_per_trial: 0.5 requested, but here has 0"),
        (
            {"concurrency": 3},
            "concurrency: 3 trials of 1 CPUs and 0 GPUs requested, but here has 2 CPUs and 0 GPUs, room for 2",
        ),
    ],
)
def test_resources_that_are_not_there_are_refused(flags: dict[str, float], message: str) -> None:
    with pytest.raises(ResourceError, match=message):
        fitting_concurrency(compose(None, None, flags, []).resources, [(2, 0)], "here")


@pytest.mark.parametrize(
    ("flags", "nodes", "expected"),
    [
        ({"cpus_per_trial": 3}, [(4, 0), (4, 0)], 2),
        ({"gpus_per_trial": 1}, [(4, 1), (64, 0)], 1),
        ({"gpus_per_trial": 0.5, "cpus_per_trial": 4}, [(4, 2), (16, 1)], 3),
        ({"gpus_per_trial": 0.3}, [(1, 4), (64, 1), (0, 0)], 4),
    ],
)
def test_a_trial_has_all_it_needs_on_one_node(
    flags: dict[str, float], nodes: list[tuple[float, float]], expected: int
) -> None:
    assert fitting_concurrency(compose(None, None, flags, []).resources, nodes, "there") == expected


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"cpus_per_trial": 8}, "cpus_per_trial: 8 requested, but there has 4 on one node; lower --cpus-per-trial"),
        (
            {"gpus_per_trial": 1, "cpus_per_trial": 4},
            "cpus_per_trial: 4 CPUs beside 1 GPUs requested, but no node of there has both; lower --cpus-per-trial",
        ),
    ],
)
def test_what_no_node_has_is_refused_although_the_sum_has_it(flags: dict[str, float], message: str) -> None:
    with pytest.raises(ResourceError, match=f"^{message}$"):
        fitting_concurrency(compose(None, None, flags, []).resources, [(4, 0), (2, 1), (2, 1)], "there")


def test_a_budget_without_a_floor_gets_one_at_four_fifths() -> None:
    space = compose(None, None, {"dataset": "cifar10", "space": {"max_params": 250_000}}, []).space
    assert (space.min_params, space.max_params) == (200_000, 250_000)
    given = compose(None, None, {"space": {"max_params": 30_000, "min_params": 0}}, []).space
    assert given.min_params == 0


def test_a_relative_image_folder_is_kept_as_an_absolute_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ants", "bees"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for i in range(4):
            Image.new("RGB", (8, 8), (i, 0, 0)).save(tmp_path / "photos" / name / f"{i}.png")
    monkeypatch.chdir(tmp_path)
    config = compose(None, None, {"dataset": "./photos", "data_dir": "cache"}, [])
    assert config.dataset == str(tmp_path / "photos")
    assert config.data_arguments["data_dir"] == str(tmp_path / "cache")
    assert config.space.classes == 2


def test_the_help_names_the_defaults_of_data_sets() -> None:
    text = config_flag("trials").help
    assert "[default: 100; digits: 12]" in text
    assert "digits: 40,000" in config_flag("space.max_params").help


@pytest.mark.parametrize("key", ["warm_start", "reuse", "time_budget_s", "data_dir"])
def test_the_help_names_no_default_where_there_is_none(key: str) -> None:
    assert "[default" not in config_flag(key).help


@pytest.mark.parametrize("dataset", [".hidden", "-dash", "x" * 240, "ä/ö", "..."])
def test_a_generated_name_is_one_that_could_be_given(dataset: str, tmp_path: Path) -> None:
    for _ in range(3):
        folder = new_run_folder(tmp_path, None, dataset)
        folder.mkdir()
        (tmp_path / "other").mkdir(exist_ok=True)
        assert new_run_folder(tmp_path / "other", folder.name, dataset).name == folder.name
        assert folder.name.count("-2-3") == 0


def test_the_seeds_of_all_replicates_are_seeds() -> None:
    assert compose(None, None, {"seed": 2**31 - 3, "replicates": 3}, []).replicates == 3
    with pytest.raises(ConfigError, match=rf"use at most {2**31 - 3}"):
        compose(None, None, {"seed": 2**31 - 2, "replicates": 3}, [])
    for seed, limit in ((-1, "use at least 0"), (2**31, "use less than 2147483648")):
        with pytest.raises(ConfigError, match=f"seed: {seed} given; {limit}"):
            compose(None, None, {"seed": seed}, [])


def test_a_list_of_words_needs_no_quotes() -> None:
    config = compose(None, None, {}, ["recipe.optimizer=[nesterov, muon]", "space.block_types=[basic,bottleneck]"])
    assert config.recipe.values_of("optimizer") == ["nesterov", "muon"]
    assert config.space.block_types == ("basic", "bottleneck")
    listed = compose(None, None, {}, ["space.layouts=[1-1-3x16-16-16, 2-1x8-12+actsilu]"]).space.listed_layouts
    assert [layout.layout_id for layout in listed] == [
        "1-1-3x16-16-16+in1",
        "2-1x8-12+actsilu+in1",
    ]
    with pytest.raises(ConfigError, match="adamm"):
        compose(None, None, {}, ["recipe.optimizer=[sgd,adamm]"])


def test_a_list_of_layouts_has_no_floor_beside_its_budget() -> None:
    flags = {"dataset": "cifar10", "space": {"max_params": 300_000}}
    listed = compose(None, None, flags, ["space.layouts=[arora-resnet12]"]).space
    assert (listed.min_params, listed.max_params) == (0, 300_000)
    assert compose(None, None, flags, []).space.min_params == 240_000
