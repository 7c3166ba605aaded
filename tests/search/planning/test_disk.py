"""What a run will take of its disk; and what waits, is skipped or is refused where there is no room."""

from __future__ import annotations

import io
import itertools
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from rich.console import Console

from model_zoo import PRESETS
from results import TableWriter, read_record, read_run
from search.config import RunConfig, compose
from search.config.quantities import size_bytes
from search.driver.disk_watch import DiskWatch, PatientRecord
from search.driver.display import SilentDisplay
from search.errors import ConfigError, ResourceError
from search.layouts import LayoutSpace
from search.planning.disk import (
    DIGITS,
    RESERVE,
    folder_bytes,
    forecast,
    free_bytes,
    largest_checkpoint,
    require_room,
    trial_bytes,
)
from search.runs.checkpoint_files import checkpoint_path
from search.text import size_text
from tests.support.disk_fixtures import fill, small_disk
from tests.support.examples import examples
from tests.support.results_fixtures import report, run_trial, start_session, suggestion
from tests.support.training_fixtures import assert_same_bits, small_trainer, state_of
from tests.support.zoo_fixtures import brute_force, spaces
from trainables.checkpoints import files as checkpoints
from trainables.checkpoints.size import checkpoint_bytes
from trainables.recipe import Recipe

MIB = 2**20


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 2 MiB."""
    with small_disk(tmp_path / "disk") as folder:
        yield folder


@pytest.fixture
def config() -> RunConfig:
    return compose(None, None, {"trials": 7, "confirm": 0, "space": {"max_params": 15_000, "stages": [2]}}, [])


class Watched:
    """A room over a record, what it says, and the answer to whether the session is to stop."""

    def __init__(self, config: RunConfig, record: PatientRecord) -> None:
        self.screen = io.StringIO()
        self.stop = False
        display = SilentDisplay(Console(file=self.screen, width=40))
        self.room = DiskWatch(record, largest_checkpoint(config), config.disk_quota, display, lambda: self.stop)

    @property
    def said(self) -> list[str]:
        return self.screen.getvalue().splitlines()


@pytest.mark.parametrize(
    ("text", "size"),
    [("500000", 500_000), ("750M", 750 * MIB), ("1.5g", 3 * 2**29), ("2T", 2**41), ("8K", 8192)],
)
def test_sizes_are_read_with_binary_suffixes(text: str, size: int) -> None:
    assert size_bytes(text) == size


@pytest.mark.parametrize("text", ["", "20GB", "-3M", "much", "1 G"])
def test_what_is_no_size_is_named(text: str) -> None:
    with pytest.raises(ConfigError, match=r"disk_quota: .* given; write bytes or a size such as"):
        compose(None, None, {"disk_quota": text}, [])


@pytest.mark.parametrize("text", ["9" * 27, "9" * 308 + "T", "9" * 5000])
def test_a_size_beyond_all_numbers_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^disk_quota: '9{27,37}[.]*' given, more than any disk holds; use a size"):
        compose(None, None, {"disk_quota": text}, [])


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 KiB"), (1536, "1.5 KiB"), (3 * MIB, "3 MiB"), (2.5 * 2**40, "2.5 TiB")]
)
def test_sizes_are_shown_with_binary_prefixes(size: float, text: str) -> None:
    assert size_text(size) == text


@examples(30)
@given(spaces())
def test_no_layout_of_a_space_has_a_larger_checkpoint_than_the_bound(space: LayoutSpace) -> None:
    config = compose(None, None, {}, ["recipe.optimizer=['sgd','adam']"]).model_copy(update={"space": space})
    sizes = [checkpoint_bytes(layout, Recipe(optimizer="adam")) for layout in brute_force(space)]
    assert max(sizes, default=0) <= largest_checkpoint(config)
    if space.layouts and sizes:
        assert max(sizes) == pytest.approx(largest_checkpoint(config), abs=2 * DIGITS)


def test_the_bound_of_a_usual_space_is_close() -> None:
    config = compose(None, None, {"dataset": "cifar10"}, [])
    best = max(checkpoint_bytes(layout, Recipe()) for layout in PRESETS.values() if config.space.contains(layout))
    assert best < largest_checkpoint(config) < 1.1 * best


def test_a_forecast_counts_two_checkpoints_a_running_trial_and_the_kept(config: RunConfig) -> None:
    assert forecast(config, 2).checkpoints == 2 * 2 + 3
    assert forecast(config, 100).checkpoints == 2 * 7 + 3
    assert forecast(config, 1, open_trials=4).checkpoints == 2 + 3 + 3
    assert forecast(config.model_copy(update={"confirm": 2}), 1).checkpoints == 2 + 3 + 2
    assert forecast(config.model_copy(update={"confirm": 9}), 1).checkpoints == 2 + 7
    longer = config.model_copy(update={"max_epochs": 2_000, "grace_epochs": 2_000})
    more = longer.ladder.expected_epochs(7) - config.ladder.expected_epochs(7)
    grown = forecast(longer, 1).other_bytes - forecast(config, 1).other_bytes
    assert grown > more * 300  # more than a line of the record an epoch


def test_a_run_larger_than_its_quota_or_its_disk_is_refused(disk: Path, config: RunConfig) -> None:
    planned = forecast(config, 1)
    require_room(config.disk_quota, disk / "run", planned)
    tight = config.model_copy(update={"disk_quota": planned.total})
    require_room(tight.disk_quota, disk / "run", planned)
    with pytest.raises(ResourceError, match=r"disk_quota: .* given, but the run may .*; raise --disk-quota to \d+M"):
        require_room(planned.total - 1, disk / "run", planned)
    kept = disk / "run" / "checkpoints" / "kept"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(bytes(free_bytes(disk) - planned.total // 2))
    assert folder_bytes(disk / "run") == kept.stat().st_size
    require_room(config.disk_quota, disk / "run", planned)  # what is there already is not asked for again
    kept.rename(disk / "other")
    with pytest.raises(ResourceError, match=r"disk: .* free at .*; make room, choose another --storage, or lower"):
        require_room(config.disk_quota, disk / "run", planned)


def test_a_checkpoint_waits_for_room_without_a_byte_on_the_disk(disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The old checkpoint stays whole meanwhile, and what is written at last is what was to be written at first."""
    trainer = small_trainer()
    path = disk / "checkpoints" / "trial"
    trainer.train_epoch()
    trainer.save(path)
    before = path.read_bytes()
    trainer.train_epoch()
    filler = fill(disk, leave=8192)
    waiting = threading.Event()
    monkeypatch.setattr(checkpoints.time, "sleep", lambda seconds: waiting.set() or threading.Event().wait(0.01))
    saving = threading.Thread(target=trainer.save, args=(path,))
    saving.start()
    assert waiting.wait(60)
    assert saving.is_alive()
    assert path.read_bytes() == before
    filler.unlink()
    saving.join(60)
    assert not saving.is_alive()
    assert [entry.name for entry in path.parent.iterdir()] == ["trial"]
    other = small_trainer()
    other.load(path)
    assert other.epoch == 2
    assert_same_bits(state_of(other), state_of(trainer))


def test_an_event_waits_for_room_and_is_written_once(disk: Path, config: RunConfig) -> None:
    with PatientRecord(disk / "run") as record:
        watched = Watched(config, record)
        start_session(record)
        filler = fill(disk)
        tries = []
        wait = record.wait
        assert wait is not None

        def wait_and_make_room() -> bool:
            tries.append(record.path.read_bytes())
            if len(tries) == 2:
                filler.unlink()
            return wait()

        record.wait = wait_and_make_room
        for trial in range(10):  # the last page of the file has room for some lines
            run_trial(record, trial, {2: 0.5})
        assert len(set(tries)) == 1
        assert tries[0].endswith(b"\n")
        assert not record.gave_up
        full = f"the disk of {disk / 'run'} is full; waiting for room (4 KiB needed)"
        assert watched.said == [f"{full}; Ctrl-C stops the search, which can be resumed"]
        watched.room.watch(())
        assert watched.said[1:] == [f"the disk of {disk / 'run'} has room again ({size_text(free_bytes(disk))} free)"]
    assert read_record(disk / "run") == record.state
    assert len(record.state.trials) == 10


def test_a_session_that_is_to_stop_gives_up_and_writes_no_later_event(disk: Path, config: RunConfig) -> None:
    with PatientRecord(disk / "run") as record:
        watched = Watched(config, record)
        start_session(record)
        record.append("suggested", **suggestion(0))
        filler = fill(disk)
        watched.stop = True

        def train_on() -> None:
            for epoch in itertools.count(1):
                record.append("report", **report(0, epoch, None))

        with pytest.raises(ResourceError, match="make room, then continue with --resume"):
            train_on()
        epochs = record.state.trials[0].epochs
        filler.unlink()
        with pytest.raises(ResourceError):
            record.append("report", **report(0, epochs + 2, None))  # its forerunner is missing
        assert record.append("session-ended", session=1, reason="interrupted", wall_time_s=1.0)
    state = read_record(disk / "run")
    assert state.trials[0].epochs == epochs
    assert state.sessions[1].reason == "interrupted"


def test_tables_are_skipped_on_a_full_disk_and_written_later(disk: Path) -> None:
    with PatientRecord(disk / "run") as record:
        start_session(record)
        run_trial(record, 0, {2: 0.5})
        writer = TableWriter(record.folder)
        filler = fill(disk, leave=4096)
        assert not writer.update(record, force=True)
        assert not list(record.folder.glob(".*.tmp"))
        assert read_run(record.folder).trials.num_rows == 1  # readers take the record
        filler.unlink()
        assert writer.update(record, force=True)
        assert {path.name for path in record.folder.glob("*.parquet")} == {"trials.parquet", "epochs.parquet"}


def test_launching_pauses_while_the_disk_has_no_room(disk: Path, config: RunConfig) -> None:
    with PatientRecord(disk / "run") as record:
        watched = Watched(config, record)
        start_session(record)
        assert watched.room.admits(None, ())
        filler = fill(disk, leave=RESERVE + largest_checkpoint(config))
        assert not watched.room.admits(None, ())
        assert not watched.room.admits(None, ())
        assert len(watched.said) == 1
        assert "launching is paused" in watched.said[0]
        filler.unlink()
        assert watched.room.admits(None, ())
        assert watched.said[1:] == ["launching continues"]
        assert not watched.room.quota_spent


def test_a_quota_pauses_while_trials_run_and_ends_the_session_when_none_does(disk: Path, config: RunConfig) -> None:
    quota = RESERVE + 3 * largest_checkpoint(config)
    with PatientRecord(disk / "run") as record:
        start_session(record)
        record.append("suggested", **suggestion(0))
        watched = Watched(config.model_copy(update={"disk_quota": quota}), record)
        assert watched.room.admits(None, ())
        kept = checkpoint_path(record.folder, 1)
        kept.parent.mkdir()
        kept.write_bytes(bytes(2 * largest_checkpoint(config)))
        room = Watched(config.model_copy(update={"disk_quota": quota}), record)
        assert not room.room.admits(None, {0})
        assert not room.room.quota_spent
        assert f"launching is paused: {record.folder} is near disk_quota" in room.said[0]
        assert not room.room.admits(None, ())
        assert room.room.quota_spent
        kept.unlink()
        assert room.room.admits(None, ())


def test_a_checkpoint_that_is_being_written_is_not_taken_for_a_full_disk(disk: Path, config: RunConfig) -> None:
    with PatientRecord(disk / "run") as record:
        start_session(record)
        record.append("suggested", **suggestion(0))
        watched = Watched(config, record)
        need = trial_bytes(record.state, 0)
        unfinished = checkpoint_path(record.folder, 0).with_name(".trial-00000.safetensors.1.tmp")
        unfinished.parent.mkdir()
        unfinished.write_bytes(bytes(need // 2))
        fill(disk, leave=need - need // 4)
        watched.room.watch({0})
        assert watched.said == []
        unfinished.unlink()
        unfinished.with_name("other").write_bytes(bytes(need // 2))
        watched.room.watch({0})
        assert len(watched.said) == 1
        assert f"is full; waiting for room ({size_text(need)} needed)" in watched.said[0]
