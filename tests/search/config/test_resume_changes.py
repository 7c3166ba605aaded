"""What a resume may change, what it may not and why, and how the changes are kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from results import Record, RecordLockedError, RunNotFoundError, read_record, write_tables
from search.config import RunConfig, compose
from search.config.changes import CHANGEABLE, FIXED, changed
from search.errors import ConfigError, ResumeError
from search.launch import resume_run
from search.runs import existing_run_folder, read_config
from search.runs.folder import change_config, write_run_file
from tests.support.results_fixtures import write_run
from tests.support.shapes import write_shapes
from trainables.data import load_training_set

ROOM: dict[str, Any] = {"max_params": 50_000, "stages": [2, 3]}


def run(*sets: str, **flags: Any) -> RunConfig:
    return compose(None, None, {"max_epochs": 27, "grace_epochs": 3, "space": ROOM} | flags, sets)


def rungs_after(config: RunConfig, *epochs: int) -> tuple[int, ...]:
    for number in epochs:
        config = changed(config, {"max_epochs": number}).config
    return config.rungs


def test_a_change_is_kept_with_its_time(tmp_path: Path) -> None:
    config = run("recipe.cutout=4", trials=3)
    write_run_file(tmp_path / "run", config)
    created = json.loads((tmp_path / "run" / "run.json").read_text())
    change = changed(config, {"trials": 9, "space": {"max_params": 60_000}})
    assert change.sentence == "trials 3 -> 9, space.max_params 50,000 -> 60,000, space.min_params 40,000 -> 48,000"
    change_config(tmp_path / "run", change)
    assert read_config(tmp_path / "run") == change.config
    content = json.loads((tmp_path / "run" / "run.json").read_text())
    (kept,) = content.pop("changes")
    assert kept.pop("time_s") > created["created_s"]
    assert kept == {"trials": 9, "space.max_params": 60_000, "space.min_params": 48_000}
    content["config"]["trials"] = 3
    content["config"]["space"] |= {"max_params": 50_000, "min_params": 40_000}
    assert content == created


def test_a_run_that_a_driver_holds_keeps_its_configuration(tmp_path: Path) -> None:
    write_run_file(tmp_path / "run", run())
    before = (tmp_path / "run" / "run.json").read_bytes()
    with Record(tmp_path / "run"), pytest.raises(RecordLockedError):
        change_config(tmp_path / "run", changed(run(), {"trials": 999}))
    assert (tmp_path / "run" / "run.json").read_bytes() == before


def test_the_space_keeps_what_is_not_changed() -> None:
    config = run("space.channels=[8,16]", "space.max_depth=20")
    change = changed(config, {"space": {"min_params": 10_000}})
    assert change.config.space == config.space.model_copy(update={"min_params": 10_000})
    assert change.differences == {"space.min_params": (40_000, 10_000)}


@pytest.mark.parametrize(
    ("floor", "budget", "expected"), [(None, 60_000, 48_000), (10_000, 60_000, 10_000), (40_000, 45_000, 36_000)]
)
def test_a_default_floor_follows_the_budget_and_another_stays(floor: int | None, budget: int, expected: int) -> None:
    config = run(space=ROOM | ({} if floor is None else {"min_params": floor}))
    assert changed(config, {"space": {"max_params": budget}}).config.space.min_params == expected


def test_a_budget_below_a_floor_that_stays_is_refused_with_both() -> None:
    config = run(space=ROOM | {"min_params": 20_000})
    with pytest.raises(ConfigError, match="min_params 20,000 exceeds max_params 15,000"):
        changed(config, {"space": {"max_params": 15_000}})


def test_what_is_given_again_is_no_change() -> None:
    config = run("recipe.momentum=[0.5,0.9]", "space.channels=[8,16]", "recipe.families.a={b={cutout=0},c={cutout=4}}")
    again = json.loads(json.dumps(config.model_dump(mode="json")))
    for given in (again, {"space": {"channels": [16, 8, 8]}, "recipe": {"momentum": [0.9, 0.5]}}, {}):
        assert changed(config, given) == changed(config, {})
    assert changed(config, {}).config == config
    assert changed(config, {}).sentence == ""


def test_all_keys_that_cannot_change_are_named_at_once_each_with_its_reason() -> None:
    given = {
        "dataset": "cifar10",
        "seed": 3,
        "trials": 0,
        "max_epochs": 20,
        "recipe": {"momentum": 0.1, "learning_rate": 0.1},
        "space": {"channels": [8], "max_params": 60_000},
    }
    with pytest.raises(ResumeError) as caught:
        changed(run(), given)
    message = str(caught.value)
    assert "\n" not in message
    refused = message.removeprefix("a resume cannot change ").rpartition("; start a new run")[0].split(" | ")
    assert [part.partition(" (")[0] for part in refused] == [
        *("dataset", "seed", "recipe.momentum", "space.channels", "max_epochs")
    ]
    assert refused[0] == f"dataset (digits -> cifar10): {FIXED['dataset']}"
    assert refused[3].startswith("space.channels ([8, 12, 16, 24, 32] -> [8]): ")
    assert refused[4] == (
        "max_epochs (27 -> 20): the run's trials are annealed at epochs 3, 9, 27; "
        "use one of these, or more than 27, ideally 81"
    )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"trials": 0}, "trials: 0 given"),
        ({"trails": 9}, "trails: no such key; did you mean trials"),
        ({"space": {"max_parms": 9}}, "max_parms: no such key; did you mean max_params"),
        ({"space": 5}, "space"),
        ({"max_epochs": "many"}, "max_epochs: 'many' given"),
    ],
)
def test_a_wrong_value_is_a_configurations(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        changed(run(), given)


def test_every_key_is_changeable_or_has_its_reason() -> None:
    keys = {name for name in RunConfig.model_fields if name not in ("space", "recipe")}
    assert keys == {key for key in CHANGEABLE | FIXED.keys() if "." not in key} - {"space", "recipe"}
    assert not CHANGEABLE & FIXED.keys()
    assert {"space.max_params", "space.min_params"} < CHANGEABLE


def test_epochs_are_raised_so_that_no_rung_moves() -> None:
    assert rungs_after(run(), 81) == (3, 9, 27, 81)
    assert rungs_after(run(), 40) == (3, 9, 27, 40)
    assert rungs_after(run(), 40, 200) == (3, 9, 27, 40, 120, 200)
    assert rungs_after(run(max_epochs=20), 60) == (3, 9, 20, 60)


def test_epochs_are_lowered_to_a_rung_and_what_was_trained_beyond_stays_known() -> None:
    assert rungs_after(run(), 9) == (3, 9)
    assert rungs_after(run(), 3, 27) == (3, 9, 27)
    assert rungs_after(run(), 9, 81) == (3, 9, 27, 81)
    with pytest.raises(ResumeError, match=r"annealed at epochs 3, 9, 27; use one of these, or more than 27"):
        rungs_after(run(), 9, 20)
    with pytest.raises(ResumeError, match=r"max_epochs \(27 -> 2\): .* 3, 9, 27"):
        rungs_after(run(), 2)


def test_other_schedules_do_not_let_epochs_change() -> None:
    config = run('recipe.schedule=["rung-annealed","cosine"]')
    with pytest.raises(ResumeError, match="under cosine the learning rate of every epoch depends on it"):
        changed(config, {"max_epochs": 81})
    assert changed(config, {"max_epochs": 27}).differences == {}


def test_a_run_of_a_version_without_shares_keeps_the_images_that_it_had(tmp_path: Path) -> None:
    for part in ("train", "val"):
        write_shapes(tmp_path / "shapes" / part, 10)
    write_run_file(tmp_path / "run", run(dataset=str(tmp_path / "shapes"), data_dir=str(tmp_path / "cache")))
    stored = json.loads((tmp_path / "run" / "run.json").read_text())
    for key in ("validation_share", "test_share", "val_folder", "confirm"):
        del stored["config"][key]
    (tmp_path / "run" / "run.json").write_text(json.dumps(stored))
    config = read_config(tmp_path / "run")
    before = {"validation_share": 0.1, "test_share": 0.2, "val_folder": False, "confirm": 0}
    assert config.model_dump(mode="json") == stored["config"] | before
    data = load_training_set(**config.data_arguments)
    assert (len(data.labels), len(data.val_indices), data.own_validation) == (48, 5, False)
    assert changed(config, {"trials": 9}).differences == {"trials": (20, 9)}
    for key, value in {"validation_share": 0.2, "test_share": 0.1, "val_folder": True}.items():
        with pytest.raises(ResumeError, match=rf"{key} \(.* -> {value}\): {FIXED['split_seed']}"):
            changed(config, {key: value})


@pytest.mark.parametrize(("images", "floor"), [(10, 10_000), (10, None)])
def test_the_floor_of_a_folder_follows_its_budget_too(images: int, floor: int | None, tmp_path: Path) -> None:
    write_shapes(tmp_path / "shapes", images)
    space = {"max_params": 40_000} | ({} if floor is None else {"min_params": floor})
    config = compose(None, None, {"dataset": str(tmp_path / "shapes"), "data_dir": str(tmp_path), "space": space}, [])
    share = config.space.min_params / 40_000
    assert changed(config, {"space": {"max_params": 20_000}}).config.space.min_params == 20_000 * share


def test_the_earlier_epochs_are_not_a_key_for_users() -> None:
    with pytest.raises(ConfigError, match="earlier_max_epochs: recorded by resumes"):
        run(earlier_max_epochs=[3])
    with pytest.raises(ResumeError, match="it follows max_epochs"):
        changed(run(), {"earlier_max_epochs": [3]})


def test_a_run_is_found_by_name_by_path_and_from_inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_run_file(tmp_path / "runs" / "one", run())
    (tmp_path / "runs" / "one").rename(tmp_path / "moved")
    with pytest.raises(RunNotFoundError, match="no run 'one'"):
        existing_run_folder(tmp_path / "runs", "one")
    assert existing_run_folder(tmp_path / "runs", str(tmp_path / "moved")) == tmp_path / "moved"
    monkeypatch.chdir(tmp_path / "moved")
    assert existing_run_folder(Path("runs"), ".") == tmp_path / "moved"


@pytest.mark.parametrize("content", [None, b"", b"rubbish\n" * 3])
@pytest.mark.parametrize("dry_run", [True, False])
def test_a_resume_writes_over_no_tables_whose_record_is_gone(
    content: bytes | None, dry_run: bool, tmp_path: Path
) -> None:
    folder = tmp_path / "gone"
    write_run_file(folder, run())
    record = write_run(folder) / "record.jsonl"
    write_tables(folder, read_record(folder), record.stat().st_size)
    record.unlink()
    if content is not None:
        record.write_bytes(content)
    before = {path: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(ResumeError, match=r"record\.jsonl: missing or unreadable, but trials\.parquet holds 6 trials"):
        resume_run(tmp_path, "gone", {}, [], None, quiet=True, json=False, dry_run=dry_run, say=pytest.fail)
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
