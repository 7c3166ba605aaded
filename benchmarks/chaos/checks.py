"""Checks of a finished search that must hold however often it was killed, from its files alone.

The record's lines are counted here directly and not with `results.record.state`, which ignores repeated lines.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from optuna.trial import TrialState

from results import RunState, rank_trials, read_record
from results.record.record import RECORD_NAME
from results.record.tables import EPOCHS_NAME, TRIALS_NAME
from search.config import RunConfig
from search.runs import read_config
from search.runs.checkpoint_files import checkpoint_path
from search.runs.confirmation import Confirmation
from search.runs.folder import read_val_images
from search.runs.ranking import ranked
from search.runs.rungs import AshaRungs
from search.sampling import JointSpace
from search.sampling.study import RunStudy
from trainables.checkpoints.files import read
from trainables.errors import CheckpointError

OF_A_RUN = ("train_time_s", "eval_time_s", "started_s", "ended_s", "time_s", "session", "run", "retries")
"""Columns in which two runs of one search may differ: times, names, and retries after workers died."""

Events = list[dict[str, Any]]


def problems(folder: Path, trials: int) -> list[str]:
    """A sentence for everything that is wrong with the run in `folder`, whose search should have `trials` trials."""
    found = record_problems(folder, trials)
    found += _table_problems(folder, _events(folder), trials)
    found += _checkpoint_problems(folder, read_config(folder).keep_checkpoints)
    return [*found, *_leaderboard_problems(folder, trials)]


def record_problems(folder: Path, trials: int) -> list[str]:
    """Sentences on problems of the run's record, and of the rungs and the study that are rebuilt from it."""
    content = (folder / RECORD_NAME).read_bytes()
    found = ["record: its last line is torn"] if not content.endswith(b"\n") else []
    events, config, state = _events(folder), read_config(folder), read_record(folder)
    found += [f"record: {sentence}" for sentence in state.skipped]
    found += [f"record: trial {trial.trial} is {trial.status}" for trial in state.trials.values() if not trial.ended]
    found += _trial_problems(events, trials)
    found += _session_problems(events)
    found += _epoch_problems(events)
    found += _rung_problems(events, config, AshaRungs(config.ladder).replay(state))
    found += _confirmation_problems(
        events, state, Confirmation(config.confirm, read_val_images(folder), config.trials_per_place)
    )
    candidates = JointSpace(config.space, config.recipe)
    study = RunStudy(candidates, config.sampler, config.seed, state, config.replicates)
    return [*found, *_study_problems(study, events)]


def differences(storage: Path, one: str, other: str) -> list[str]:
    """Sentences on columns other than `OF_A_RUN` in which the leaderboards or epochs of two runs differ."""
    found = []
    boards = [
        rank_trials(storage, [name], over_seeds=False).drop(columns=list(OF_A_RUN), errors="ignore")
        for name in (one, other)
    ]
    epochs = [
        pd.read_parquet(storage / name / EPOCHS_NAME).drop(columns=list(OF_A_RUN), errors="ignore")
        for name in (one, other)
    ]
    for what, (left, right) in (("leaderboards", boards), ("epochs", epochs)):
        if len(left) != len(right):
            found.append(f"{what}: {len(left)} rows in {one}, {len(right)} in {other}")
        else:
            columns = [name for name in left.columns if not left[name].equals(right[name])]
            found += [f"{what}: {name} differs between {one} and {other}" for name in columns]
    return found


def _events(folder: Path) -> Events:
    """The lines of the record that are JSON; its reader reports the others."""
    found = []
    for line in (folder / RECORD_NAME).read_bytes().splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


def _of(events: Events, name: str) -> Events:
    return [event for event in events if event["event"] == name]


def _twice(keys: Iterable[Any]) -> list[Any]:
    return [key for key, count in Counter(keys).items() if count > 1]


def _trial_problems(events: Events, trials: int) -> Iterator[str]:
    numbers = [event["trial"] for event in _of(events, "suggested")]
    ended = [event["trial"] for event in _of(events, "ended")]
    for what, present in (("suggested", numbers), ("ended", ended)):
        yield from (f"trials: {number} not {what}" for number in sorted(set(range(trials)) - set(present)))
        yield from (
            f"trials: {number} {what}, {trials} requested" for number in sorted(set(present) - set(range(trials)))
        )
    yield from (f"trials: {number} suggested twice" for number in _twice(numbers))
    reopened = Counter(event["trial"] for event in _of(events, "reopened"))
    reopened += Counter(number for event in _of(events, "confirmed") for number in event["trials"])
    for number, count in Counter(ended).items():
        if count > 1 + reopened[number]:
            yield f"trials: {number} ended twice"
        elif count < 1 + reopened[number]:
            yield f"trials: {number} reopened and not ended"
    trainings = [json.dumps([event[key] for key in ("layout", "recipe", "seed")]) for event in _of(events, "suggested")]
    yield from (f"trials: suggested twice: {training}" for training in _twice(trainings))
    for event in _of(events, "ended"):
        if event["status"] not in ("completed", "stopped"):
            yield f"trials: {event['trial']} {event['status']}: {event['error']}"


def _session_problems(events: Events) -> Iterator[str]:
    """Checks that no more trials run at a time than there are slots, and that a running trial is not started again."""
    slots, session, at_work = 0, 0, set[int]()
    for event in events:
        number = event.get("trial", -1)
        if event["event"] == "session":
            session, slots, at_work = event["session"], event["concurrency"], set()
        elif event["event"] == "started":
            if number in at_work:
                yield f"sessions: trial {number} started twice in session {session}"
            at_work.add(number)
            if len(at_work) > slots:
                yield f"sessions: trials {sorted(at_work)} running in session {session}, which has {slots} slots"
        elif event["event"] == "report" and number not in at_work and event["reused"] is None:
            yield f"sessions: trial {number} reported epoch {event['epoch']} but was not running"
        elif event["event"] in ("ended", "retried"):
            at_work.discard(number)
        if event.get("session", session) != session:
            yield f"sessions: {event['event']} of session {event['session']} in session {session}"


def _epoch_problems(events: Events) -> Iterator[str]:
    reports = [(event["trial"], event["epoch"]) for event in _of(events, "report")]
    yield from (f"epochs: trial {trial} reported epoch {epoch} twice" for trial, epoch in _twice(reports))
    max_epochs, epochs = 0, Counter[int]()
    for event in events:
        if event["event"] == "limits":
            max_epochs = event["max_epochs"]
        elif event["event"] == "report":
            epochs[event["trial"]] += 1
            if event["epoch"] != epochs[event["trial"]]:
                yield f"epochs: trial {event['trial']} reported {event['epoch']} as number {epochs[event['trial']]}"
        elif event["event"] == "ended":
            done = epochs[event["trial"]]
            if (done == max_epochs) != (event["status"] == "completed"):
                yield f"epochs: trial {event['trial']} is {event['status']} after {done} of {max_epochs}"


def _rung_problems(events: Events, config: RunConfig, rebuilt: dict[int, bool]) -> Iterator[str]:
    """Checks with NumPy's quantile that each ending follows from the values in the record when it was decided."""
    seen: dict[int, list[float]] = {rung: [] for rung in config.rungs}
    max_epochs = config.max_epochs
    last: dict[int, tuple[int, bool]] = {}  # by trial, the epoch of its last rung and whether it passed the quantile

    confirmed: dict[int, int] = {}

    def goes_on(number: int) -> bool:
        epoch, passed = last.get(number, (0, True))
        return epoch < max_epochs and (passed or epoch < confirmed.get(number, 0))

    for event in events:
        number = event.get("trial", -1)
        if event["event"] == "limits":
            max_epochs = event["max_epochs"]
        elif event["event"] == "report":
            epoch, value = event["epoch"], event["val_accuracy"]
            if not goes_on(number):
                yield f"rungs: trial {number} was trained on after a rung that stopped it"
            if epoch in seen:
                before = seen[epoch]
                quantile = np.quantile(before, 1 - 1 / config.reduction_factor) if before else -np.inf
                last[number] = epoch, bool(value >= quantile)
                before.append(value)
        elif event["event"] == "ended" and goes_on(number):
            yield f"rungs: trial {number} is {event['status']}, although its last rung promoted it"
        elif event["event"] == "reopened" and not goes_on(number):
            yield f"rungs: trial {number} was reopened, although its last rung stopped it"
        elif event["event"] == "confirmed":
            confirmed |= dict.fromkeys(event["trials"], event["epochs"])
    wrong = sorted(n for n in last.keys() | rebuilt.keys() if goes_on(n) != rebuilt.get(n))
    if wrong:
        yield f"rungs: the rebuilt rungs decide differently on trials {wrong}"


def _confirmation_problems(events: Events, state: RunState, rule: Confirmation) -> Iterator[str]:
    """Checks that trials were confirmed when all had ended, no more of them than allowed, and that none is missing."""
    ended, known, since = set[int](), set[int](), 0
    for event in events:
        name = event["event"]
        if name in ("limits", "suggested"):
            since = 0
        if name == "suggested":
            known.add(event["trial"])
        elif name == "ended":
            ended.add(event["trial"])
        elif name == "reopened":
            ended.discard(event["trial"])
        elif name == "confirmed":
            if ended != known:
                yield f"confirmed: {event['trials']} before trials {sorted(known - ended)} had ended"
            ended -= set(event["trials"])
            since += len(event["trials"])
            if since > rule.trials:
                yield f"confirmed: {since} trials, {rule.trials} allowed"
    if left := [trial.trial for trial in rule.next_ones(state)]:
        yield f"confirmed: trials {left} are not, although they are within noise of the best"


def _table_problems(folder: Path, events: Events, trials: int) -> Iterator[str]:
    frame, epochs = pd.read_parquet(folder / TRIALS_NAME), pd.read_parquet(folder / EPOCHS_NAME)
    if frame["trial"].tolist() != list(range(trials)):
        yield f"{TRIALS_NAME}: trials {frame['trial'].tolist()}, {trials} requested"
    training = ["layout_id", "seed", *(name for name in frame.columns if name.startswith("recipe_"))]
    for place in frame.index[frame.duplicated(training)]:
        yield f"{TRIALS_NAME}: trial {frame['trial'][place]} repeats another"
    for place in frame.index[~frame["status"].isin(["completed", "stopped"])]:
        yield f"{TRIALS_NAME}: trial {frame['trial'][place]} is {frame['status'][place]}"
    for place in epochs.index[epochs.duplicated(["trial", "epoch"])]:
        yield f"{EPOCHS_NAME}: trial {epochs['trial'][place]} has epoch {epochs['epoch'][place]} twice"
    columns = ["trial", "epoch", "val_accuracy", "train_time_s"]
    reported = sorted(tuple(event[name] for name in columns) for event in _of(events, "report"))
    if sorted(epochs[columns].itertuples(index=False, name=None)) != reported:
        yield f"{EPOCHS_NAME}: differs from the reports in the record"


def _checkpoint_problems(folder: Path, keep: int) -> Iterator[str]:
    best = ranked(read_record(folder))[:keep]
    kept = {checkpoint_path(folder, trial.trial).name for trial in best}
    there = {path.name for path in (folder / "checkpoints").iterdir()}
    if there != kept:
        yield f"checkpoints: {sorted(there)} exist, but the best are {sorted(kept)}"
    for trial in best:
        try:
            report = json.loads(read(checkpoint_path(folder, trial.trial))[0]["report"])
        except CheckpointError as error:
            yield f"checkpoints: {error}"
            continue
        if (report["epoch"], report["val_accuracy"]) != (trial.rung_epoch, trial.val_accuracy):
            yield f"checkpoints: trial {trial.trial} has epoch {report['epoch']}, but is ranked at {trial.rung_epoch}"


def _study_problems(history: RunStudy, events: Events) -> Iterator[str]:
    """Compares the study with the lines of the record: states, parameters, values at rungs, final values."""
    states = {"completed": TrialState.COMPLETE, "stopped": TrialState.PRUNED}
    max_epochs = _of(events, "limits")[-1]["max_epochs"]
    ended = {event["trial"] for event in _of(events, "ended")}
    trained = {event["trial"] for event in _of(events, "report") if event["epoch"] == max_epochs}
    endings = {number: "completed" if number in trained else "stopped" for number in ended}
    proposals = {event["trial"]: event["proposal"] for event in _of(events, "suggested")}
    for trial in history.study.get_trials(deepcopy=False):
        own = [e for e in _of(events, "report") if e["trial"] == trial.number and e["rung"] is not None]
        at_rungs = {event["epoch"]: event["val_accuracy"] for event in own}
        last = own[-1]["val_accuracy"] if own else None
        status = endings.get(trial.number, "open")
        found = (trial.state, trial.params, trial.intermediate_values, trial.value)
        if found != (states.get(status, TrialState.FAIL), proposals.get(trial.number), at_rungs, last):
            yield f"study: trial {trial.number} is {found}, but {status} in the record"
    if len(history.study.trials) != len(proposals):
        yield f"study: {len(history.study.trials)} trials, but {len(proposals)} in the record"


def _leaderboard_problems(folder: Path, trials: int) -> Iterator[str]:
    arguments = [
        "results.leaderboard",
        folder.name,
        "--storage",
        str(folder.parent),
        "--no-over-seeds",
        "--format",
        "json",
    ]
    outcome = subprocess.run([sys.executable, "-m", *arguments], capture_output=True, text=True, timeout=120)
    if outcome.returncode or outcome.stderr:
        yield f"leaderboard: exit code {outcome.returncode}, {outcome.stderr.strip()}"
    elif len(rows := json.loads(outcome.stdout)) != trials:
        yield f"leaderboard: {len(rows)} rows, {trials} trials requested"
