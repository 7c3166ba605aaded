"""The Parquet tables: sound ones are read, all others are rebuilt from the record, whatever happened to them."""

from __future__ import annotations

import math
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from results.errors import NewerVersionError, ResultsError, RunNotFoundError
from results.record.events import RECIPE_FIELDS
from results.record.reading import read_run
from results.record.record import Record, read_record
from results.record.tables import (
    EPOCHS_SCHEMA,
    TRIALS_SCHEMA,
    TableWriter,
    epochs_table,
    trials_table,
    write_tables,
)
from results.record.trials_of_runs import open_runs
from tests.support.examples import examples
from tests.support.processes import ROOT, session
from tests.support.results_fixtures import report, run_trial, start_session, suggestion, write_run


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run with tables as long as its record."""
    return write_whole(tmp_path / "runs" / "alpha")


def write_whole(folder: Path) -> Path:
    write_run(folder)
    write_tables(folder, read_record(folder), (folder / "record.jsonl").stat().st_size)
    return folder


TRIALS_COLUMNS = """
run:string trial:int64 status:string layout_id:string
blocks:list channels:list strides:list kernels:list stem_channels:int64 skip_kernel:int64 conv_bias:bool
in_channels:int64 classes:int64 block:string groups:int64 squeeze:int64 activation:string expansion:int64
skip_pool:bool stem_depth:int64 stem_stride:int64
params:int64 flops:int64 depth:int64
recipe_optimizer:string recipe_learning_rate:double recipe_weight_decay:double recipe_momentum:double
recipe_adaptive_clipping:double recipe_batch_size:int64 recipe_keep_last_batch:bool
recipe_label_smoothing:double recipe_conv_init:string recipe_head_init:string
recipe_schedule:string recipe_warmup_epochs:double recipe_cosine_epochs:int64 recipe_step_epochs:int64
recipe_step_factor:double recipe_patience_epochs:int64 recipe_decay_norms:bool recipe_gradient_clipping:double
recipe_muon_rate_factor:double recipe_lookahead_steps:int64 recipe_lookahead_share:double recipe_sam_radius:double
recipe_ema_decay:double recipe_stochastic_depth:double recipe_dropout:double recipe_restart_epochs:int64
recipe_restart_factor:int64 recipe_cooldown_share:double recipe_milestones:string
recipe_exponential_factor:double recipe_plateau_epochs:int64 recipe_plateau_metric:string
recipe_first_image_size:int64 recipe_resizing_share:double recipe_crop_padding:int64 recipe_padding_mode:string
recipe_flip:bool recipe_cutout:int64 recipe_rotation_degrees:double recipe_mixup_alpha:double
recipe_cutmix_alpha:double recipe_mix_probability:double recipe_mix_strength:string recipe_resized_crop:double
recipe_jitter_brightness:double recipe_jitter_contrast:double recipe_jitter_saturation:double recipe_jitter_hue:double
recipe_flip_order:string recipe_policy:string recipe_policy_operations:int64
recipe_policy_magnitude:int64 recipe_erasing:double recipe_ricap_beta:double recipe_precision:string
recipe_keep_weights:string recipe_epochs:int64
seed:int64 epochs:int64 rung:int64 rung_epoch:int64 val_accuracy:double val_loss:double test_accuracy:double
train_time_s:double eval_time_s:double test_epoch:int64 test_flip:bool test_images:int64 started_s:double
ended_s:double confirmed:bool retries:int64
reused:string error:string within_limits:bool answers:string
"""
EPOCHS_COLUMNS = """
run:string trial:int64 epoch:int64 rung:int64 val_accuracy:double val_loss:double train_accuracy:double
train_loss:double learning_rate:double train_time_s:double eval_time_s:double session:int64 reused:string time_s:double
"""


def test_the_columns_and_their_types_are_the_format_of_the_files() -> None:
    types = {"string": pa.string(), "int64": pa.int64(), "double": pa.float64(), "bool": pa.bool_()}
    types["list"] = pa.list_(pa.field("element", pa.int64()))
    for schema, columns in ((TRIALS_SCHEMA, TRIALS_COLUMNS), (EPOCHS_SCHEMA, EPOCHS_COLUMNS)):
        pairs = [column.split(":") for column in columns.split()]
        assert schema.equals(pa.schema([(name, types[kind]) for name, kind in pairs]))


def test_rebuilt_tables_equal_the_written_ones(run: Path) -> None:
    written = read_run(run)
    for name in ("trials.parquet", "epochs.parquet"):
        (run / name).unlink()
    rebuilt = read_run(run)
    assert written.trials.equals(rebuilt.trials, check_metadata=True)
    assert written.epochs.equals(rebuilt.epochs, check_metadata=True)
    assert written.notes == rebuilt.notes == []


def test_the_tables_are_read_without_the_record(run: Path) -> None:
    whole = read_run(run)
    (run / "record.jsonl").unlink()
    alone = read_run(run)
    assert (alone.trials, alone.epochs, alone.notes) == (whole.trials, whole.epochs, [])


def test_the_rows_are_the_state(run: Path) -> None:
    state = read_record(run)
    rows = read_run(run).trials.to_pylist()
    assert [row["trial"] for row in rows] == sorted(state.trials)
    for row in rows:
        trial = state.trials[row["trial"]]
        assert {name: row[name] for name in trial.layout} == trial.layout
        assert {name: row[f"recipe_{name}"] for name in RECIPE_FIELDS} == trial.recipe
        assert {name: row[name] for name in row if hasattr(trial, name)} == {
            name: getattr(trial, name) for name in row if hasattr(trial, name)
        }
    epochs = read_run(run).epochs.to_pylist()
    assert [(row["trial"], row["epoch"]) for row in epochs] == [
        (trial, entry.epoch) for trial in sorted(state.reports) for entry in state.reports[trial]
    ]


def test_an_empty_run_has_typed_tables(tmp_path: Path) -> None:
    with Record(tmp_path / "new") as record:
        start_session(record)
    tables = read_run(tmp_path / "new")
    assert (tables.trials.num_rows, tables.epochs.num_rows) == (0, 0)
    assert tables.trials.schema.equals(TRIALS_SCHEMA)
    assert tables.epochs.schema.equals(EPOCHS_SCHEMA)


def test_nan_stays_nan_in_the_epochs_and_is_no_accuracy_of_a_trial(tmp_path: Path) -> None:
    with Record(tmp_path) as record:
        start_session(record)
        run_trial(record, 0, {1: math.nan}, "diverged", val_loss=math.inf)
        record.append("suggested", **suggestion(1))
        TableWriter(tmp_path).update(record)
    assert math.isnan(read_run(tmp_path).epochs["val_accuracy"].to_pylist()[0])
    assert read_run(tmp_path).trials["val_accuracy"].to_pylist() == [None, None]
    assert read_run(tmp_path).trials["val_loss"].to_pylist()[0] == math.inf


def test_a_table_behind_the_record_is_rebuilt_without_a_note(run: Path) -> None:
    with Record(run) as record:
        start_session(record, 2)
        record.append("report", **report(5, 1, 1, 0.25, session=2))
    tables = read_run(run)
    assert tables.notes == []
    assert tables.trials.to_pylist()[5]["val_accuracy"] == 0.25


@pytest.mark.parametrize("name", ["trials.parquet", "epochs.parquet"])
@pytest.mark.parametrize("damage", ["zero bytes", "text", "foreign", "no version", "a folder"])
def test_a_damaged_or_foreign_table_is_noted_and_rebuilt(run: Path, name: str, damage: str) -> None:
    whole = read_run(run)
    path = run / name
    table = pq.ParquetFile(path).read()
    path.unlink()
    if damage == "zero bytes":
        path.write_bytes(b"")
    elif damage == "text":
        path.write_text("PAR1 but not really PAR1")
    elif damage == "foreign":
        pq.write_table(pa.table({"x": [1]}), path)
    elif damage == "no version":
        pq.write_table(table.replace_schema_metadata(None), path)
    else:
        path.mkdir()
    tables = read_run(run)
    assert (tables.trials, tables.epochs) == (whole.trials, whole.epochs)
    assert len(tables.notes) == 1
    assert str(path) in tables.notes[0]


@pytest.mark.parametrize(("name", "schema"), [("trials", TRIALS_SCHEMA), ("epochs", EPOCHS_SCHEMA)])
def test_a_run_of_a_newer_version_is_refused_with_what_to_upgrade(run: Path, name: str, schema: pa.Schema) -> None:
    known = schema.metadata[b"parambudget.schema"].decode()
    write_whole(run.parent / "beta")
    path = run / f"{name}.parquet"
    newer = {b"parambudget.schema": f"{name}-v99".encode()}
    pq.write_table(pq.ParquetFile(path).read().replace_schema_metadata(newer), path)
    message = f"{path}: written by a newer version of parambudget ({name}-v99; this one reads up to {known}); upgrade"
    with pytest.raises(NewerVersionError, match=re.escape(message)):
        read_run(run)
    if name == "trials":
        trials = open_runs(run.parent)
        assert trials.columns(["run"])["run"].to_pylist() == ["beta"] * 6
        assert message in trials.notes[0]
        with pytest.raises(ResultsError, match="upgrade parambudget"):
            open_runs(run.parent, ["alpha"])


@pytest.mark.parametrize("with_record", [True, False])
def test_a_table_of_an_earlier_version_is_read_without_a_note(run: Path, with_record: bool) -> None:
    whole = read_run(run)
    for name, version in (("trials", b"trials-v1"), ("epochs", b"epochs-v1")):
        path = run / f"{name}.parquet"
        table = pq.ParquetFile(path).read()
        older = {**table.schema.metadata, b"parambudget.schema": version}
        pq.write_table(table.drop_columns([table.schema.names[-1]]).replace_schema_metadata(older), path)
    if not with_record:
        (run / "record.jsonl").unlink()
    tables = read_run(run)
    assert tables.notes == []
    for found, expected in ((tables.trials, whole.trials), (tables.epochs, whole.epochs)):
        last = expected.schema.names[-1]
        assert found.drop_columns([last]) == expected.drop_columns([last])
        assert found[last].null_count == (0 if with_record else found.num_rows) or found[last] == expected[last]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_whole(tmp_path_factory.mktemp("runs") / "alpha")


@examples(60)
@given(name=st.sampled_from(["trials.parquet", "epochs.parquet"]), place=st.floats(0, 1), flip=st.integers(0, 255))
def test_a_table_cut_or_changed_at_any_byte_shows_no_wrong_row(
    name: str, place: float, flip: int, sound: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    run = tmp_path_factory.mktemp("runs") / "alpha"
    shutil.copytree(sound, run)
    content = (run / name).read_bytes()
    at = round(place * (len(content) - 1))
    (run / name).write_bytes(content[:at] + (bytes([content[at] ^ flip]) + content[at + 1 :] if flip else b""))
    tables = read_run(run)
    assert tables.trials.to_pydict() == read_run(sound).trials.to_pydict()
    assert tables.epochs.to_pydict() == read_run(sound).epochs.to_pydict()
    if not flip:
        assert len(tables.notes) == 1


def test_leftovers_of_a_killed_writer_are_never_read(run: Path) -> None:
    whole = read_run(run)
    (run / ".trials.parquet.tmp").write_bytes(b"half a table")
    assert read_run(run).trials == whole.trials
    write_tables(run, read_record(run), (run / "record.jsonl").stat().st_size)
    assert not list(run.glob(".*"))


def test_the_run_column_is_the_folders_present_name(run: Path, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere" / "rate=0.1"  # a name that pyarrow's data sets take for a partition
    moved.parent.mkdir()
    shutil.move(run, moved)
    for _ in range(2):
        tables = read_run(moved)
        assert set(tables.trials["run"].to_pylist()) == set(tables.epochs["run"].to_pylist()) == {"rate=0.1"}
        assert tables.trials.schema.equals(TRIALS_SCHEMA)
        (moved / "trials.parquet").unlink(missing_ok=True)


def test_a_ruined_record_leaves_the_tables(run: Path) -> None:
    whole = read_run(run)
    (run / "record.jsonl").write_bytes(b"\0" * 4096)
    tables = read_run(run)
    assert tables.trials == whole.trials
    assert any("no valid event" in note for note in tables.notes)


def test_many_bad_lines_are_counted(tmp_path: Path) -> None:
    with Record(tmp_path) as record:
        start_session(record)
    path = tmp_path / "record.jsonl"
    path.write_bytes(path.read_bytes() + b"junk\n" * 9)
    assert [note.partition(": ")[2] or note for note in read_run(tmp_path).notes] == [
        "record.jsonl line 2 is skipped: not JSON (expected value)",
        "record.jsonl line 3 is skipped: not JSON (expected value)",
        "and 7 more such lines",
    ]


def test_nothing_usable_is_an_error_that_names_the_file(run: Path) -> None:
    (run / "record.jsonl").unlink()
    (run / "trials.parquet").write_bytes(b"")
    with pytest.raises(ResultsError, match=r"trials\.parquet: damaged"):
        read_run(run)


def test_an_absent_run_names_the_runs_that_are_there(run: Path) -> None:
    with pytest.raises(RunNotFoundError, match=r"no run .*alpah.* has alpha"):
        read_run(run.parent / "alpah")


def test_all_runs_of_a_storage_are_read_and_a_damaged_one_is_noted(run: Path) -> None:
    storage = run.parent
    write_whole(storage / "beta")
    (storage / "no-run").mkdir()
    (storage / "file").write_text("")
    (storage / "gamma").mkdir()
    (storage / "gamma" / "trials.parquet").write_bytes(b"")
    trials = open_runs(storage)
    assert trials.columns(["run"])["run"].to_pylist() == ["alpha"] * 6 + ["beta"] * 6
    assert len(trials.notes) == 1
    assert "gamma" in trials.notes[0]


def test_runs_are_named_or_given_as_folders(run: Path, tmp_path: Path) -> None:
    other = write_whole(tmp_path / "other" / "alpha")
    by_name = open_runs(run.parent, ["alpha", str(run)])
    assert by_name.columns(["run"])["run"].to_pylist() == ["alpha"] * 6
    both = open_runs(run.parent, ["alpha", other])
    assert set(both.columns(["run"])["run"].to_pylist()) == {str(run), str(other)}
    with pytest.raises(RunNotFoundError, match="beta"):
        open_runs(run.parent, ["alpha", "beta"])
    with pytest.raises(RunNotFoundError, match=r"python -m search\.run"):
        open_runs(tmp_path / "absent")


def test_writing_waits_twenty_times_what_it_took(tmp_path: Path) -> None:
    # each update reads the clock at its start and, where it writes, at its end
    readings = iter([0.0, 2.0, *[41.75], *[42.0, 42.5], *[52.0], *[52.25, 52.5], *[57.25], *[57.5, 57.75]])
    with Record(tmp_path) as record:
        writer = TableWriter(tmp_path, clock=lambda: next(readings))

        def update(force: bool = False) -> bool:
            start_session(record, len(record.state.sessions) + 1)
            return writer.update(record, force)

        assert update()
        assert not update()
        assert update()
        assert not update()
        assert update(force=True)
        assert not update()
        assert update()
    assert next(readings, None) is None


def test_nothing_is_written_while_nothing_happens(tmp_path: Path) -> None:
    with Record(tmp_path) as record:
        start_session(record)
        writer = TableWriter(tmp_path, clock=lambda: 0.0)
        assert writer.update(record)
        assert not writer.update(record)
        assert writer.update(record, force=True)
        start_session(record, 2)
        assert writer.update(record)


WRITE = """
import sys
from pathlib import Path
from results import Record, TableWriter
from tests.support.results_fixtures import run_trial, start_session
with Record(Path(sys.argv[1])) as record:
    start_session(record, len(record.state.sessions) + 1)
    writer = TableWriter(record.folder)
    print("writing", flush=True)
    while True:
        run_trial(record, len(record.state.trials), {1: 0.5})
        writer.update(record, force=True)
"""


def test_a_writer_killed_at_any_time_leaves_readable_tables(tmp_path: Path) -> None:
    for written in range(1, 5):
        command = [sys.executable, "-c", WRITE, str(tmp_path)]
        with session(command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)}) as writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "writing\n"
            for _ in range(300 * written):  # reads beside the writer, each of them sound
                if (tmp_path / "epochs.parquet").exists():
                    assert read_run(tmp_path).notes == []
                    break
            writer.send_signal(signal.SIGKILL)
        tables = read_run(tmp_path)
        state = read_record(tmp_path)
        assert [note for note in tables.notes if "its driver" not in note] == []
        assert tables.trials == trials_table(tmp_path.name, state)
        assert tables.epochs == epochs_table(tmp_path.name, state)
