"""How much of a finished run was training, and what took the rest of the time of its slots?

Usage: python -m benchmarks.run_overhead RUN_FOLDER

A slot is room for one trial; a session has `concurrency` slots. Their time is split into training (training steps and
validation, measured inside the trials), inside (the rest of a trial: loading, checkpoints, reports), start (from the
session's start to the first launch in a slot), between (from a trial's end to the next launch in its slot) and tail
(from the last end in a slot to the session's end). The last line is one JSON object.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from results import RunState, read_record
from search.runs.ranking import session_training_time_s


def slot_times(state: RunState, session: int, ended_s: float) -> dict[str, float]:
    """Seconds of all slots of a session by their use; `ended_s` is the session's end in Unix time."""
    free, waits, running = _slots(state, session, ended_s)
    training = session_training_time_s(state, session)
    return {
        "training_s": training,
        "inside_s": running - training,
        "start_s": sum(wait for wait, fresh in waits if fresh),
        "between_s": sum(wait for wait, fresh in waits if not fresh),
        "tail_s": sum(max(0.0, ended_s - end) for end in free),
    }


def gaps(state: RunState, session: int) -> list[float]:
    """Seconds from the end of each trial of an ended session to the start of the next one in its slot."""
    _, waits, _ = _slots(state, session, state.sessions[session].ended_s or 0.0)
    return [wait for wait, fresh in waits if not fresh]


def _slots(state: RunState, session: int, ended_s: float) -> tuple[list[float], list[tuple[float, bool]], float]:
    """The time at which each slot was last freed, each wait for a trial and whether it was the slot's first, and the
    seconds of all trials.
    """
    facts = state.sessions[session]
    free, fresh = [facts.started_s] * facts.concurrency, [True] * facts.concurrency
    waits, running = [], 0.0
    trials = [t for t in state.trials.values() if t.started_s is not None and t.started_s >= facts.started_s]
    for trial in sorted(trials, key=lambda t: t.started_s or 0.0):
        started, ended = trial.started_s or 0.0, trial.ended_s or ended_s
        slot = max((s for s in range(len(free)) if free[s] <= started + 1e-3), key=lambda s: free[s], default=0)
        waits.append((max(0.0, started - free[slot]), fresh[slot]))
        running += ended - started
        free[slot], fresh[slot] = ended, False
    return free, waits, running


def figures(folder: Path) -> dict[str, Any]:
    """The figures of the run's last session."""
    state = read_record(folder)
    session = max(state.sessions)
    facts = state.sessions[session]
    if facts.ended_s is None or facts.wall_time_s is None:
        raise SystemExit(f"error: session {session} of {folder} has not ended; finish it with --resume {folder.name}")
    times = slot_times(state, session, facts.ended_s)
    slots_s = facts.wall_time_s * facts.concurrency
    durations = sorted((t.ended_s or 0.0) - (t.started_s or 0.0) for t in state.trials.values() if t.ended)
    return {
        "run": folder.name,
        "trials": len(state.trials),
        "epochs": sum(len(reports) for reports in state.reports.values()),
        "wall_time_s": round(facts.wall_time_s, 1),
        "concurrency": facts.concurrency,
        "median_trial_s": round(durations[len(durations) // 2], 1),
        **{name: round(value, 1) for name, value in times.items()},
        "overhead": round(slots_s / times["training_s"] - 1, 4),
    }


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit("error: give one folder of a run, for example runs/first")
    sys.stdout.write(json.dumps(figures(Path(sys.argv[1]))) + "\n")
