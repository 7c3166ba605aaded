"""Actions on a run's folder between a kill and the resume: it is moved, or files are torn as by a power cut.

A line that was being appended and a table that was being written are cut at a random byte. Lines that the driver had
finished writing are not touched, because they were synced to disk.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.chaos.scene import complete_lines
from results.record.reading import read_run
from results.record.record import RECORD_NAME
from results.record.tables import TRIALS_NAME


@dataclass(frozen=True)
class Done:
    """The outcome of an action."""

    folder: Path
    """Where the run is now."""
    torn: int = 0
    """Bytes of the record's torn last line, which the next driver must report and cut off."""
    notes: tuple[str, ...] = ()
    """A sentence for each problem found already."""


@dataclass(frozen=True)
class Action:
    """A kind of damage or change."""

    title: str
    """Its name in the table."""
    act: Callable[[Path, np.random.Generator], Done]
    needs_table: bool = False
    """Whether it needs the table of trials."""
    at_once: bool = False
    """Whether it is done before the dead driver's workers have ended."""
    flags: tuple[str, ...] = ()
    """Flags for the resume."""


def _move(folder: Path, generator: np.random.Generator) -> Done:
    place = folder.parent.parent if folder.parent.name == "moved" else folder.parent
    moved = place / "moved" / f"{folder.name.partition(' ')[0]} {generator.integers(10**9)}"
    moved.parent.mkdir(exist_ok=True)
    folder.rename(moved)
    return Done(moved)


def _tear_record(folder: Path, generator: np.random.Generator) -> Done:
    line = complete_lines(folder).splitlines()[-1]
    torn = line[: int(generator.integers(1, len(line) + 1))]
    with open(folder / RECORD_NAME, "ab") as file:
        file.write(torn)
    return Done(folder, len(torn))


def _tear_table(folder: Path, generator: np.random.Generator) -> Done:
    path = folder / TRIALS_NAME
    content = path.read_bytes()
    path.write_bytes(content[: int(generator.integers(0, len(content)))])
    # A leaderboard must also work now: it reads the record and reports the damage.
    notes = read_run(folder).notes
    named = [note for note in notes if TRIALS_NAME in note and "damaged" in note]
    return Done(folder, notes=() if named else (f"{TRIALS_NAME} was torn, but reading it reports {notes}",))


def _tear_both(folder: Path, generator: np.random.Generator) -> Done:
    torn = _tear_record(folder, generator)
    return Done(folder, torn.torn, _tear_table(folder, generator).notes)


def _nothing(folder: Path, generator: np.random.Generator) -> Done:
    return Done(folder)


ACTIONS = {
    "move": Action("the folder moved, resumed by path", _move, at_once=True),
    "record": Action("the record's last line torn", _tear_record),
    "table": Action("trials.parquet torn", _tear_table, needs_table=True),
    "both": Action("the record's last line and trials.parquet torn", _tear_both, needs_table=True),
    "longer": Action("more epochs requested", _nothing, flags=("--max-epochs=8",)),
}
"""The actions between a kill and the resume, by name."""


def possible(name: str, folder: Path) -> bool:
    """Whether the action can be applied to the run now."""
    return bool(complete_lines(folder)) and ((folder / TRIALS_NAME).exists() or not ACTIONS[name].needs_table)
