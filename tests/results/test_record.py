"""The record: what is appended durably comes back, and what may not be in it is refused."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from model_zoo import ResNetLayout
from results.errors import RecordError, RunNotFoundError
from results.record.events import LAYOUT_DEFAULTS, LAYOUT_FIELDS, checked_event, decode_event, encode_event
from results.record.record import Record, read_record, replay
from tests.support.results_fixtures import RECIPE, report, run_trial, start_session, suggestion, write_run

LAYOUT = suggestion(0)["layout"]


@pytest.fixture
def record(tmp_path: Path) -> Iterator[Record]:
    with Record(tmp_path / "run") as opened:
        start_session(opened)
        yield opened


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return (write_run(tmp_path_factory.mktemp("source") / "run") / "record.jsonl").read_bytes()


def test_the_state_is_what_the_events_add_up_to(tmp_path: Path) -> None:
    state = read_record(write_run(tmp_path / "run"))
    assert [trial.status for trial in state.trials.values()] == [
        *("completed", "stopped", "completed", "diverged", "failed", "suggested")
    ]
    best = state.trials[2]
    assert (best.epochs, best.rung, best.rung_epoch, best.val_accuracy, best.test_accuracy) == (4, 2, 4, 0.9, 0.88)
    assert (best.train_time_s, best.eval_time_s) == (8.0, 2.0)
    assert best.started_s is not None
    assert best.ended_s is not None
    assert best.suggested_s <= best.started_s <= best.ended_s
    assert best.layout["blocks"] == [2, 2]
    assert best.recipe == RECIPE
    assert [entry.rung for entry in state.reports[2]] == [None, 1, None, 2]
    assert state.sessions[1].reason == "done"
    waiting = state.trials[5]
    assert (waiting.epochs, waiting.rung, waiting.rung_epoch, waiting.val_accuracy) == (0, 0, None, None)


def test_an_accuracy_between_rungs_is_never_the_trials(record: Record) -> None:
    run_trial(record, 0, {3: 0.4}, status=None)
    record.append("report", **report(0, 4, None, 0.97))
    trial = record.state.trials[0]
    assert (trial.epochs, trial.rung_epoch, trial.val_accuracy) == (4, 3, 0.4)


def test_reopening_gives_the_same_state_and_goes_on(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    with Record(folder) as again:
        assert again.repairs == []
        assert again.state == read_record(folder)
        start_session(again, 2)
        assert again.append("report", **report(5, 1, None, session=2))
    assert read_record(folder).trials[5].status == "running"


def test_a_repeated_end_or_epoch_adds_nothing(record: Record) -> None:
    run_trial(record, 0, {2: 0.5})
    size = record.size
    assert not record.append("ended", trial=0, status="failed", error="too late")
    assert not record.append("report", **report(0, 2, 1))
    assert not record.append("report", **report(0, 1, None))
    assert record.size == size == record.path.stat().st_size
    assert record.state.trials[0].status == "completed"


@pytest.mark.parametrize(
    ("event", "fields", "named"),
    [
        ("promoted", {}, "'promoted' is not an event"),
        ("started", {"trial": 9, "session": 1}, "trial 9 is unknown"),
        ("report", report(9, 1, None), "trial 9 is unknown"),
        ("ended", {"trial": 9, "status": "failed", "error": None}, "trial 9 is unknown"),
        ("evaluated", {"trial": 9, "epoch": 1, "test_accuracy": 0.5, "test_loss": 1.0}, "trial 9 is unknown"),
        ("suggested", suggestion(0), "trial 0 is already in the record"),
        ("session", {"session": 1, "concurrency": 1, "pid": 1, "resources": {}}, "session 1 is already in the record"),
        ("session-ended", {"session": 2, "reason": "done", "wall_time_s": 1.0}, "session 2 is unknown"),
        ("started", {"trial": 0, "session": 2}, "session 2 is unknown"),
        ("started", {"trial": 0, "session": 1}, "trial 0 is already completed"),
        ("report", report(0, 3, None), "trial 0 is already completed"),
        ("report", report(1, 2, 1), "has already reached rung"),
        ("report", report(1, 2, None, 67.3), "report.val_accuracy: 67.3 given"),
        ("report", report(1, 2, None, val_loss="low"), "report.val_loss: 'low' given"),
        ("report", report(1, 2, None, train_time_s=None), "report.train_time_s: None given"),
        ("report", report(1, 2, None, speed=1), "speed is not a field"),
        ("report", report(1, 2, None, val_loss=np.True_), "report.val_loss: np.True_ given; use a number"),
        ("report", report(1, 2, None, **{"two\nlines": 1}), "report.two lines is not a field"),
        ("report", report(1, 2.0, None), "report.epoch: 2.0 given"),  # type: ignore[arg-type]
        ("ended", {"trial": 1, "status": "done", "error": None}, "use completed, stopped"),
        ("suggested", {**suggestion(2), "recipe": {**RECIPE, "blur": 0.1}}, "blur is not a field"),
        ("suggested", {**suggestion(2), "recipe": {"optimizer": "sgd"}}, "batch_size is missing"),
        ("suggested", {**suggestion(2), "params": 2**63}, "suggested.params"),
        ("suggested", {**suggestion(2), "params": True}, "suggested.params: True given; use a whole number"),
        ("suggested", {**suggestion(2), "params": -1}, "suggested.params: -1 given; use at least 0"),
        ("suggested", {**suggestion(2), "proposal": {"seed": 2**63}}, "suggested.proposal.seed"),
        ("suggested", {**suggestion(2), "layout": {**LAYOUT, "blocks": [1, 0]}}, "suggested.layout.blocks.1: 0 given"),
        ("suggested", {**suggestion(2), "layout": {**LAYOUT, "conv_bias": 1}}, "suggested.layout.conv_bias: 1 given"),
        ("suggested", {**suggestion(2), "proposal": {"rate": math.nan}}, "suggested.proposal.rate: nan given"),
        ("suggested", {**suggestion(2), "layout": {"blocks": [1]}}, "channels is missing"),
    ],
)
def test_a_wrong_event_is_refused_by_name_and_not_written(
    record: Record, event: str, fields: dict[str, Any], named: str
) -> None:
    run_trial(record, 0, {2: 0.5})
    run_trial(record, 1, {1: 0.5}, status=None)
    before, state = record.path.read_bytes(), repr(record.state)
    with pytest.raises(RecordError) as caught:
        record.append(event, **fields)
    assert named in str(caught.value)
    assert "\n" not in str(caught.value)
    assert (record.path.read_bytes(), repr(record.state)) == (before, state)


def test_numbers_of_numpy_and_tuples_are_stored_as_those_of_json(record: Record) -> None:
    plain = suggestion(0)
    numbers = {**plain, "params": np.int64(plain["params"]), "seed": np.int32(plain["seed"])}
    numbers["recipe"] = {**RECIPE, "learning_rate": np.float64(RECIPE["learning_rate"]), "momentum": np.float32(0.5)}
    numbers["layout"] = {**LAYOUT, "blocks": tuple(map(np.int64, LAYOUT["blocks"]))}
    record.append("suggested", **numbers)
    trial = read_record(record.folder).trials[0]
    assert repr(trial) == repr(record.state.trials[0])
    assert (trial.params, trial.seed, trial.layout) == (plain["params"], plain["seed"], LAYOUT)
    assert trial.recipe == {**RECIPE, "momentum": 0.5}


def test_a_trial_may_start_again_and_keeps_its_first_start(record: Record) -> None:
    run_trial(record, 0, {1: 0.5}, status=None)
    first = record.state.trials[0].started_s
    start_session(record, 2)
    assert record.append("started", trial=0, session=2)
    assert record.state.trials[0].started_s == first


ENDED: dict[str, Any] = {"trial": 0, "status": "failed", "error": None, "time_s": 1.0}


@settings(deadline=None)
@example(loss=math.inf, accuracy=1.0, error="a lone surrogate \ud800")
@given(
    loss=st.floats(),
    accuracy=st.floats(0, 1) | st.just(math.nan),
    error=st.none() | st.text(st.characters(exclude_categories=[])) | st.sampled_from(["NaN", "Infinity"]),
)
def test_every_float_and_string_survives_as_valid_json(loss: float, accuracy: float, error: str | None) -> None:
    fields = {**report(0, 1, None, train_loss=loss), "val_accuracy": accuracy}
    line = encode_event(checked_event("report", {**fields, "time_s": 1.5}))
    json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    again = decode_event(line)
    assert repr(again["train_loss"]) == repr(loss)
    assert repr(again["val_accuracy"]) == repr(accuracy)
    end = decode_event(encode_event(checked_event("ended", {**ENDED, "error": error})))
    assert end["error"] == (error if error is None else error.encode("utf-8", "backslashreplace").decode())


@settings(deadline=None)
@given(data=st.data())
def test_a_record_cut_at_any_byte_is_its_complete_lines(
    data: st.DataObject, content: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    cut = data.draw(st.integers(0, len(content)))
    folder = tmp_path_factory.mktemp("cut")
    path = folder / "record.jsonl"
    path.write_bytes(content[:cut])
    complete = content[: content.rfind(b"\n", 0, cut) + 1]
    assert read_record(folder) == replay(complete)
    assert path.read_bytes() == content[:cut]
    with Record(folder) as record:
        assert record.state == replay(complete)
        torn = cut - len(complete)
        assert len(record.repairs) == (torn > 0)
        assert all(f"{torn} bytes" in sentence for sentence in record.repairs)
        assert record.size == len(complete)
        start_session(record, 2)
    assert path.read_bytes().startswith(complete)
    assert 2 in read_record(folder).sessions


@settings(deadline=None)
@given(junk=st.binary(max_size=60).filter(lambda junk: b"\n" not in junk), data=st.data())
def test_junk_in_the_middle_is_named_skipped_and_kept(
    junk: bytes, data: st.DataObject, content: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    lines = content.splitlines(keepends=True)
    place = data.draw(st.integers(0, len(lines)))
    folder = tmp_path_factory.mktemp("junk")
    damaged = b"".join([*lines[:place], junk + b"\n", *lines[place:]])
    (folder / "record.jsonl").write_bytes(damaged)
    with Record(folder) as record:
        assert len(record.repairs) == 1
        assert f"line {place + 1} is skipped" in record.repairs[0]
        assert record.state.trials == replay(content).trials
    assert (folder / "record.jsonl").read_bytes() == damaged


def test_a_lost_suggestion_costs_its_trial_alone(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    path = folder / "record.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(line for line in lines if b'"suggested","trial":1' not in line))
    state = read_record(folder)
    assert sorted(state.trials) == [0, 2, 3, 4, 5]
    assert all("trial 1 is unknown" in sentence for sentence in state.skipped)


def test_a_record_older_than_a_recipe_field_is_read_with_null(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    path = folder / "record.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"flip":true,', b""))
    state = read_record(folder)
    assert state.skipped == []
    assert {trial.recipe["flip"] for trial in state.trials.values()} == {None}


def test_a_record_older_than_the_depth_is_read_with_null(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    assert [trial.depth for trial in read_record(folder).trials.values()] == [8, 14, 10, 22, 20, 18]
    path = folder / "record.jsonl"
    path.write_bytes(re.sub(rb'"depth":\d+,', b"", path.read_bytes()))
    state = read_record(folder)
    assert state.skipped == []
    assert {trial.depth for trial in state.trials.values()} == {None}


def test_a_record_older_than_a_layout_field_is_read_with_what_every_layout_was(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    path = folder / "record.jsonl"
    whole = read_record(folder)
    younger = json.dumps(LAYOUT_DEFAULTS, separators=(",", ":")).encode()[1:-1]
    path.write_bytes(path.read_bytes().replace(b"," + younger, b""))
    assert b'"block"' not in path.read_bytes()
    assert read_record(folder) == whole
    plain = ResNetLayout((1, 1), (8, 8)).to_dict()
    assert {name: plain[name] for name in LAYOUT_DEFAULTS} == LAYOUT_DEFAULTS
    assert list(LAYOUT_FIELDS) == list(plain)


def test_a_deeply_nested_line_is_junk(tmp_path: Path) -> None:
    (tmp_path / "record.jsonl").write_bytes(b"[" * 100_000 + b"]" * 100_000 + b"\n")
    assert len(read_record(tmp_path).skipped) == 1


def test_reading_changes_nothing_and_needs_no_lock(record: Record) -> None:
    run_trial(record, 0, {2: 0.5}, status=None)
    before = {path.name: path.read_bytes() for path in record.folder.iterdir()}
    assert read_record(record.folder) == record.state
    assert {path.name: path.read_bytes() for path in record.folder.iterdir()} == before


def test_reading_where_nothing_is_says_so(tmp_path: Path) -> None:
    with pytest.raises(RunNotFoundError, match="does not exist"):
        read_record(tmp_path / "absent")


def test_a_closed_record_refuses(tmp_path: Path) -> None:
    record = Record(tmp_path)
    record.close()
    record.close()
    with pytest.raises(RecordError, match="closed"):
        start_session(record)
