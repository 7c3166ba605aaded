"""Starts, resumes or plans a run: from its configuration to the summary of a finished session."""

from __future__ import annotations

import json as jsonlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from results import RunState, read_record
from results.record.record import RECORD_NAME
from results.wording import counted
from search.config import RunConfig
from search.config.changes import changed
from search.config.composition import flags_of
from search.config.notes import notes_on
from search.driver.disk_watch import PatientRecord
from search.driver.display import Display, LineDisplay, LiveDisplay, SilentDisplay
from search.driver.stopping import terminated_like_interrupted
from search.errors import ResumeError
from search.planning.preparation import Prepared, Say, prepare
from search.runs import existing_run_folder, read_config
from search.runs.folder import change_config, new_run_folder, read_data, read_first, read_val_images, write_run_file
from search.runs.ranking import ranked
from search.runs.reuse import ReusableResults, same_images
from search.runs.warm_start import candidate_to_dict
from search.summary import BUDGETS, shown_name, storage_flag, summarise, write_json
from trainables.data import load_training_set

INTERRUPTED = 130
"""Exit code after Ctrl-C or SIGTERM: 128 + SIGINT, the convention of shells."""


def launch(
    config: RunConfig, storage: Path, name: str | None, address: str | None, *, quiet: bool, json: bool, say: Say
) -> int:
    """Starts a run, executes one session of it, and returns the command's exit code.

    Raises:
        SearchError: the space is empty, the machine lacks the resources, or the name is taken.
        DatasetError: the data set cannot be loaded.
    """
    display = _display(config, quiet or json)
    folder = new_run_folder(storage, name, config.refit_of or config.dataset)
    prepared = prepare(config, folder, RunState(), storage, address, say=say)
    for sentence in [*notes_on(config), *prepared.left_out]:
        say(sentence)
    # prepared once, before any trial loads it
    with display.waiting(f"{config.dataset} to be loaded"):
        images = load_training_set(**config.data_arguments, on_message=say)
    data, display.val_images = images.identity, len(images.val_indices)
    reusable = ReusableResults(config, data, prepared.reused)
    first = list(map(candidate_to_dict, prepared.first))
    folder = write_run_file(
        folder,
        config,
        first,
        data,
        images.test_sha256,
        display.val_images,
        own_validation=images.own_validation,
        image_format=images.format,
        opening=prepared.opening,
        named=name is not None,
    )
    prepared = replace(prepared, folder=folder)
    say(f"run {folder.name}: {counted(config.trials, 'trial')}, rungs at {', '.join(map(str, config.rungs))} epochs")
    return _session(prepared, storage, address, reusable, display, json=json, say=say)


def resume_run(
    storage: Path,
    name: str,
    flags: Mapping[str, Any],
    sets: Sequence[str],
    address: str | None,
    *,
    quiet: bool,
    json: bool,
    dry_run: bool,
    say: Say,
) -> int:
    """Continues a run from its record, or with `dry_run` prints what that would do; returns the command's exit code.

    Raises:
        SearchError: there is no such run, or its history does not allow one of the requested changes.
    """
    folder = existing_run_folder(storage, name, changed=True)
    given = flags_of(flags, sets)
    state = read_record(folder) if (folder / RECORD_NAME).exists() else RunState()
    _require_record(folder, state)
    before = read_config(folder)
    change = changed(before, given)
    config = change.config
    _refuse_less_than_done(config, state, given)
    prepared = prepare(
        config,
        folder,
        state,
        storage,
        address,
        say=say,
        stored=read_first(folder),
        idle=not change.differences and not state.left(config.trials),
        keeps_reuse="reuse" not in change.differences,
    )
    display = _display(config, quiet or json or dry_run)
    with display.waiting(f"{config.dataset} to be loaded"):
        images = load_training_set(**config.data_arguments, on_message=say)
    data, display.val_images = images.identity, len(images.val_indices)
    if not same_images(config, data, before, read_data(folder)):
        raise ResumeError(
            f"{config.dataset}: the images have changed since {folder.name} was started; "
            "restore them or start another run"
        )
    reusable = ReusableResults(config, data, prepared.reused)
    val_images = read_val_images(folder)
    if val_images is None and config.confirm:
        say(
            "note: confirm: no trial is confirmed, since the version that started this run kept no number of its images"
        )
    if dry_run:
        from search.planning.plan import make_resume_plan
        from search.planning.plan_text import print_resume_plan

        _show(make_resume_plan(folder.name, change, state, val_images, storage), print_resume_plan, json=json)
        return 0
    change_config(folder, change)
    say(f"run {folder.name}: resumed{', ' if change.differences else ''}{change.sentence}")
    return _session(prepared, storage, address, reusable, display, json=json, say=say)


def show_plan(config: RunConfig, storage: Path, name: str | None, address: str | None, *, json: bool, say: Say) -> int:
    """Prints what a run would do and cost, without launching it; missing resources are a note, not an error.

    Raises:
        SearchError: the space is empty, the name is taken, or there are fewer training images than requested.
    """
    from search.planning.plan import make_plan
    from search.planning.plan_text import print_plan

    folder = new_run_folder(storage, name, config.refit_of or config.dataset)
    prepared = prepare(config, folder, RunState(), storage, address, say=say, only_plan=True)
    _show(make_plan(prepared, storage), print_plan, json=json)
    return 0


def _show(plan: dict[str, Any], print_text: Callable[[dict[str, Any], Console], None], *, json: bool) -> None:
    if json:
        sys.stdout.write(jsonlib.dumps(plan) + "\n")
    else:
        print_text(plan, Console())


def _refuse_less_than_done(config: RunConfig, state: RunState, given: Mapping[str, Any]) -> None:
    known = len(state.trials)
    if config.trials < known and "trials" in given:
        raise ResumeError(f"trials: {config.trials} given, but the run already has {known}; give at least {known}")
    if "epoch_budget" in given and config.epoch_budget is not None and config.epoch_budget <= state.epochs:
        raise ResumeError(
            f"epoch_budget: {config.epoch_budget} given, but the run has already trained {state.epochs} epochs; "
            "give more"
        )


def _require_record(folder: Path, state: RunState) -> None:
    """Refuses to resume a run whose record is empty although its tables hold trials, which would be overwritten.

    Raises:
        ResumeError: that is so.
    """
    from results import read_run
    from results.record.tables import TRIALS_NAME

    if state.is_empty and (folder / TRIALS_NAME).exists() and (rows := read_run(folder).trials.num_rows):
        raise ResumeError(
            f"{folder / RECORD_NAME}: missing or unreadable, but {TRIALS_NAME} holds {counted(rows, 'trial')}, which a "
            "resume would overwrite; restore the record, or start another run"
        )


def _session(
    prepared: Prepared,
    storage: Path,
    address: str | None,
    reusable: ReusableResults,
    display: Display,
    *,
    json: bool,
    say: Say,
) -> int:
    config, folder = prepared.config, prepared.folder
    with PatientRecord(folder) as record, terminated_like_interrupted():
        for repair in record.repairs:
            say(f"repaired: {repair}")
        with display.waiting("Ray to start"):
            from search.driver.session import run_session

        leave = _leaver(shown_name(folder, storage), storage_flag(storage))
        end = run_session(prepared, record, address, reusable, display, leave)
        state = record.state
    trained, working_s = end.training_time_s, end.wall_time_s - (end.startup_s or 0.0)
    facts = {
        "run": folder.name,
        "reason": end.reason,
        "error": end.error,
        "trials": len(state.trials),
        "wall_time_s": round(end.wall_time_s, 3),
        "startup_s": None if end.startup_s is None else round(end.startup_s, 3),
        "training_time_s": round(trained, 3),
        "concurrency": end.concurrency,
        "overhead": round(working_s * end.concurrency / trained - 1, 4) if trained else None,
    }
    if json:
        write_json(facts, folder)
    else:
        summarise(facts, folder, storage, config, state, display.val_images, Console())
    if end.reason == "interrupted":
        if threading.current_thread() is threading.main_thread():
            # Everything is written, and another Ctrl-C would only interrupt Ray's shutdown.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        return INTERRUPTED
    if end.reason == "failed":
        return 1
    return 0 if ranked(state) or end.reason in BUDGETS else 1


def _display(config: RunConfig, silent: bool) -> Display:
    console = Console(stderr=True)
    if silent:
        return SilentDisplay(console)
    if console.is_interactive:
        return LiveDisplay(config.budgets, config.ladder, config.space.max_params, console)
    return LineDisplay(config.trials, console)


def _leaver(run: str, in_storage: str) -> Callable[[str], None]:
    """A function that ends this process after one of Ray's has died, while the main thread waits inside Ray."""

    def leave(process: str) -> None:
        Console(stderr=True).show_cursor(True)  # the live table hides it
        sys.stderr.write(
            f"error: Ray's {process} died, which ended this session; nothing is lost: continue with "
            f"`python -m search.run{in_storage} --resume {run}`\n"
        )
        sys.stderr.flush()
        os._exit(1)

    return leave
