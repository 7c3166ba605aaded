"""A search goes on from any byte of its record to the same end, whatever had happened in it.

The record has every event: two runs' `limits`, `reused` reports, and trials `retried`, `reopened` and `confirmed`.
"""

from __future__ import annotations

import shutil
import tempfile
import zlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.chaos.checks import record_problems
from model_zoo import ResNetLayout
from results import read_record
from results.record.folders import RUN_FILE
from results.record.record import RECORD_NAME, replay
from search.config import compose
from search.config.changes import changed
from search.runs import read_config
from search.runs.checkpoint_files import checkpoint_path, drop_checkpoints
from search.runs.confirmation import Confirmation
from search.runs.folder import change_config, write_run_file
from search.runs.ranking import Leaders
from search.runs.reuse import ReusableResults
from tests.support.cli import events
from tests.support.examples import examples
from tests.support.simulated_sessions import comparable, drive, write_checkpoint

DATA: dict[str, object] = {"sha256": "0" * 64}
SPACE = {"stages": [2], "blocks": [1, 2], "channels": [8, 12, 16], "min_params": 1500, "max_params": 16000}
LADDER = {"grace_epochs": 1, "reduction_factor": 2, "seed": 1, "space": SPACE, "confirm": 2, "keep_checkpoints": 1}
VAL_IMAGES = 20
DEATHS = {(1, 3), (3, 1), (4, 2), (5, 1)}


def train(given: dict[str, Any], epoch: int) -> dict[str, Any]:
    """A report that depends on the trial's layout and the epoch."""
    luck = zlib.crc32(f"{ResNetLayout.from_dict(given['layout']).layout_id} {epoch}".encode()) / 2**32
    rung = given["rungs"].index(epoch) + 1 if epoch in given["rungs"] else None
    values = {"val_accuracy": luck, "val_loss": 1 - luck, "train_accuracy": luck, "train_loss": 1 - luck}
    return {"epoch": epoch, "rung": rung, "learning_rate": 0.1, "train_time_s": 1 + luck, "eval_time_s": 0.1, **values}


@dataclass(frozen=True)
class Story:
    """A run whose first config asked for 4 epochs and whose second asks for 8, and the run whose results it reuses."""

    storage: Path
    content: bytes
    """The finished record."""
    shorter: int
    """Bytes of it when the first configuration's trials were done."""
    again: list[tuple[int, int]]
    """The trials and epochs that were trained twice, since a confirmed trial's checkpoint was not kept."""

    @property
    def folder(self) -> Path:
        return self.storage / "new"

    def prepare(self, folder: Path, content: bytes, *, ahead: bool) -> None:
        """The run as a kill left it: its record, and the checkpoints of what is in it, one epoch `ahead` or not."""
        shutil.copy(self.folder / f"{'shorter' if len(content) < self.shorter else 'longer'}.json", folder / RUN_FILE)
        (folder / RECORD_NAME).write_bytes(content)
        state, whole, config = replay(content), replay(self.content), read_config(folder)
        dropped = self._dropped(content)
        for number, reports in state.reports.items():
            if number in dropped:
                continue
            if reports and reports[-1].reused is None:
                epochs = min(config.max_epochs, len(whole.reports[number]))
                follows = epochs > len(reports) and not state.trials[number].ended
                write_checkpoint(folder, number, len(reports) + (ahead and follows))
            elif reports and state.trials[number].ended:
                source = checkpoint_path(self.storage / "old", int((reports[-1].reused or "").rpartition("/")[2]))
                if source.exists():
                    write_checkpoint(folder, number, len(reports))
        # A run keeps those of its best trials; only that of the trial that ended last may not have been removed yet.
        before = content[: content.rfind(b"\n", 0, max(0, content.rfind(b"\n"))) + 1]
        drop_checkpoints(folder, replay(before), config.keep_checkpoints, Confirmation(config.confirm, VAL_IMAGES))

    def _dropped(self, content: bytes) -> set[int]:
        """The trials whose checkpoints went when the first configuration's were done, and were not written again."""
        if len(content) < self.shorter:
            return set()
        before, now, config = replay(content[: self.shorter]), replay(content), read_config(self.folder)
        kept = Leaders(before, config.keep_checkpoints, Confirmation(config.confirm, VAL_IMAGES)).kept
        return {n for n, reports in before.reports.items() if n not in kept and len(now.reports[n]) == len(reports)}

    def finish(self, folder: Path) -> list[tuple[int, int]]:
        """Resumes the run to its end, under the second configuration at last; what was trained."""
        trained = self._drive(folder)
        if read_config(folder).max_epochs == 4:
            change_config(folder, changed(read_config(folder), {"max_epochs": 8, "trials": 8}))
            trained += self._drive(folder)
        return trained

    def _drive(self, folder: Path) -> list[tuple[int, int]]:
        sources = {"old": self.storage / "old"}
        return drive(folder, train, ReusableResults(read_config(folder), DATA, sources), DEATHS)[1]


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    storage = tmp_path_factory.mktemp("runs")
    write_run_file(storage / "old", compose(None, None, {**LADDER, "trials": 3, "max_epochs": 2}, []), data=DATA)
    drive(storage / "old", train)
    folder = storage / "new"
    config = compose(None, None, {**LADDER, "trials": 6, "max_epochs": 4}, [])
    write_run_file(folder, config, data=DATA, val_images=VAL_IMAGES)
    story = Story(storage, b"", 0, [])
    trained = story._drive(folder)
    shorter = (folder / RECORD_NAME).stat().st_size
    shutil.copy(folder / RUN_FILE, folder / "shorter.json")
    trained += story.finish(folder)
    shutil.copy(folder / RUN_FILE, folder / "longer.json")
    again = [pair for pair, count in Counter(trained).items() if count > 1]
    return Story(storage, (folder / RECORD_NAME).read_bytes(), shorter, again)


def goes_on(story: Story, cut: int, *, ahead: bool) -> bool:
    """Whether a search over the record's first `cut` bytes comes to the whole record; an assertion says why not."""
    whole = replay(story.content)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        story.prepare(folder, story.content[:cut], ahead=ahead)
        known = read_record(folder)
        saved = {n: len(r) for n, r in known.reports.items()}
        for number, reports in known.reports.items():
            path = checkpoint_path(folder, number)
            saved[number] = max(len(reports), _epoch_of(path)) if path.exists() else len(reports)
        unsaved = {number for number in known.trials if not checkpoint_path(folder, number).exists()}
        trained = story.finish(folder)
        assert comparable(read_record(folder)) == comparable(whole)
        missing = [
            (number, report.epoch)
            for number, reports in whole.reports.items()
            for report in reports
            if report.reused is None and report.epoch > saved.get(number, 0)
        ]
        written = (folder / RECORD_NAME).read_bytes()
        complete = story.content[: story.content.rfind(b"\n", 0, cut) + 1]
        confirmed = {n for event in events(folder)[complete.count(b"\n") :] for n in event.get("trials", [])}
        again = [pair for pair in story.again if pair[0] in confirmed or pair[0] in unsaved]
        assert sorted(trained) == sorted(missing + again)
        assert written.startswith(complete)
        new = [event["trial"] for event in events(folder)[complete.count(b"\n") :] if event["event"] == "suggested"]
        assert new == sorted(whole.trials.keys() - known.trials.keys())
        assert record_problems(folder, 8) == []
    return True


def _epoch_of(path: Path) -> int:
    from trainables.checkpoints.files import read_epoch

    return read_epoch(path)


def test_the_story_has_every_event_and_is_sound(story: Story) -> None:
    lines = events(story.folder)
    names = {event["event"] for event in lines}
    assert names >= {"limits", "session", "suggested", "started", "report", "retried", "ended", "reopened", "confirmed"}
    assert len([event for event in lines if event["event"] == "confirmed"]) >= 2
    assert story.again
    assert [event["max_epochs"] for event in lines if event["event"] == "limits"] == [4, 8]
    assert len([event for event in lines if event["event"] == "retried"]) >= 2
    state = replay(story.content)
    partly = [{report.reused is None for report in reports} for reports in state.reports.values()]
    assert {True, False} in partly, "a trial goes on where an earlier run had stopped"
    assert record_problems(story.folder, 8) == []


@examples(15)
@given(data=st.data())
def test_a_search_goes_on_from_any_byte(story: Story, data: st.DataObject) -> None:
    assert goes_on(story, data.draw(st.integers(0, len(story.content))), ahead=data.draw(st.booleans()))


@pytest.mark.slow
@pytest.mark.parametrize("ahead", [False, True])
def test_a_search_goes_on_from_the_ends_of_every_line(story: Story, ahead: bool) -> None:
    ends = [place for place, byte in enumerate(story.content) if byte == ord("\n")]
    for end in ends:
        for cut in (end, end + 1):
            assert goes_on(story, cut, ahead=ahead)
