"""The summary of a session, as text or as one JSON object, with the commands to run next."""

from __future__ import annotations

import json as jsonlib
import shlex
import sys
from pathlib import Path
from typing import Any

from rich.console import Console

from results import RunState, TrialState
from results.ranking.intervals import interval_text, wilson_interval
from results.wording import counted
from search.config import RunConfig
from search.layouts.enumeration import count_in_window
from search.runs.checkpoint_files import with_weights
from search.runs.ranking import ranked
from search.text import clock, command_lines, wrapped


def write_json(facts: dict[str, Any], folder: Path) -> None:
    """Writes the `facts` of a session, and the leaderboard of the run in `folder`, as one JSON object to stdout."""
    from results.ranking.query import make_board
    from results.ranking.rendering import OutputFormat, render_board
    from results.record.trials_of_runs import open_runs

    board = make_board(open_runs(folder.parent, [folder]))
    rows = jsonlib.loads(render_board(board, OutputFormat.json))
    sys.stdout.write(jsonlib.dumps(facts | {"leaderboard": rows}) + "\n")


def summarise(
    facts: dict[str, Any],
    folder: Path,
    storage: Path,
    config: RunConfig,
    state: RunState,
    val_images: int | None,
    console: Console,
) -> None:
    """Prints the leaderboard, the `facts` of a session, the errors of its trials, what to do next and the best trial.

    `val_images` is the number of validation images, None if it is not known.
    """
    from results.ranking.query import left_out, make_board
    from results.ranking.rendering import OutputFormat, write_board
    from results.record.trials_of_runs import open_runs

    width = console.width if console.is_terminal else None

    def line(text: str, style: str = "") -> None:
        lines = [text] if width is None else wrapped(text, width)
        console.print("\n".join(lines), highlight=False, soft_wrap=True, markup=False, style=style)

    def command(parts: list[str]) -> None:
        console.print("\n".join(command_lines(parts, width)), highlight=False, soft_wrap=True, markup=False)

    by_mean = config.trials_per_place > 1
    board = make_board(open_runs(folder.parent, [folder]))
    write_board(board.first(10), OutputFormat.table)
    outside = sum(not trial.within_limits for trial in state.trials.values())
    if outside:
        line(f"{left_out(outside)}.")
    if config.reuse:
        reused = sum(trial.reused is not None for trial in state.trials.values())
        line(f"{reused} of {counted(len(state.trials), 'trial')} reused results of {', '.join(config.reuse)}.")
    line("")
    line(f"{_ENDINGS[facts['reason']]}: {counted(len(state.trials), 'trial')}{_spent(facts)}")
    if facts["error"]:
        line(facts["error"])
    else:
        for trial in state.trials.values():
            if trial.error and trial.status in ("failed", "lost", "out-of-memory"):
                line(f"trial {trial.trial} {trial.status}: {trial.error.strip().splitlines()[-1]}")
    if state.trials and all(trial.status == "diverged" for trial in state.trials.values()):
        line("Every trial diverged: lower recipe.learning_rate, or set recipe.gradient_clipping, for example to 1.")
    best = next(iter(ranked(state, by_mean)), None)
    if best and best.val_accuracy is not None and (warning := _near_chance(best, val_images)):
        line(warning)
    *others, last = _commands(facts, folder, storage, config, state)
    if others or not best:
        line("")
        line("Next:")
        for parts in others if best else [*others, last]:
            command(parts)
    if best:
        line("")
        run, network = shown_name(folder, storage), counted(best.params, "parameter")
        if best.val_accuracy is None:
            line(f"Run {run} trained {network} on all images; the test set is their only judge", "bold")
        else:
            accuracy = interval_text(best.val_accuracy, val_images)
            equals = 0 if board.over_seeds else board.column("tied").count(True) - 1
            tied = f", tied with {counted(equals, 'other')}" if equals > 0 else ""
            line(f"Best of run {run}: trial {best.trial}, {network}, {accuracy}{tied}", "bold")
        command(last)


def _commands(
    facts: dict[str, Any], folder: Path, storage: Path, config: RunConfig, state: RunState
) -> list[list[str]]:
    """What to do next, the first thing to do last; each command in the parts between which it may be broken."""
    run, in_storage = shown_name(folder, storage), [storage_flag(storage).strip()] if storage_flag(storage) else []
    board = ["python -m results.leaderboard", *in_storage, run]
    resume = ["python -m search.run", *in_storage, f"--resume {run}"]
    found = []
    by_mean = config.trials_per_place > 1
    if config.replicates > 1 and not by_mean and not config.refit_of:
        found.append([*board, "--over-seeds"])
    completed = any(trial.status == "completed" for trial in state.trials.values())
    found.append([*board, *(["--full-fidelity"] if completed else []), "--format csv"])
    unfinished = len(state.trials) < config.trials or any(not trial.ended for trial in state.trials.values())
    exhausted = facts["reason"] == "exhausted"
    if unfinished and not exhausted:
        return [*found, [*resume, *_larger_budget(facts["reason"], config)]]
    if not exhausted and not _everything_tried(config, state):
        found.insert(0, [*resume, f"--trials {2 * config.trials}"])
    if kept := with_weights(folder, state, by_mean):
        chosen = [] if kept.trial == ranked(state, by_mean)[0].trial else [f"--trial {kept.trial}"]
        if state.test_openings:  # a second look would choose by the test set
            found.append(["python -m search.refit", *in_storage, f"{run}:{kept.trial}", "--all-data"])
        else:
            found.append(["python -m search.evaluate", *in_storage, run, *chosen])
    return found


NEAR_CHANCE = 0.1
"""Part of the way from chance to 100% that still counts as near chance, if it is less than chance once more."""


def _near_chance(best: TrialState, val_images: int | None) -> str | None:
    """A warning if the 95% interval of the best accuracy begins near chance or below, which is 1 / classes."""
    classes, accuracy = best.layout["classes"], best.val_accuracy or 0.0
    chance = 1 / classes
    least = wilson_interval(accuracy, val_images)[0] if val_images else accuracy
    if least > chance + min(chance, NEAR_CHANCE * (1 - chance)):
        return None
    return (
        f"Near chance: the best accuracy, {interval_text(accuracy, val_images)}, is hardly above guessing among "
        f"{classes} classes ({chance:.1%}). Check that each image is in the folder of its class, try other values of "
        "recipe.learning_rate, or train longer with --max-epochs and --grace-epochs."
    )


def _everything_tried(config: RunConfig, state: RunState) -> bool:
    """Whether there are no more candidates than trials; False also if only a walk over the space could tell."""
    recipes = config.recipe.size
    if recipes is None or recipes > len(state.trials):
        return False
    return count_in_window(config.space) * recipes * config.replicates <= len(state.trials)


def shown_name(folder: Path, storage: Path) -> str:
    """The name of the run, or its path if it is not in `storage`, quoted for a shell."""
    return shlex.quote(folder.name if folder.parent == storage else str(folder))


def storage_flag(storage: Path) -> str:
    """The flag `--storage` for `storage`; empty for the default one."""
    return "" if str(storage) == "runs" else f" --storage {shlex.quote(str(storage))}"


LEAST_TRAINED_S = 60
"""Seconds of training per slot from which the overhead is shown; below, it is the wait for the last trial."""


def _spent(facts: dict[str, Any]) -> str:
    if not facts["concurrency"]:
        return "; nothing was left to run" if facts["reason"] == "done" else "; nothing was run"
    trained_s, slots = facts["training_time_s"], facts["concurrency"]
    startup = f", {clock(facts['startup_s'])} of it to start" if facts["startup_s"] is not None else ""
    shown = facts["overhead"] is not None and trained_s >= LEAST_TRAINED_S * slots
    overhead = f", overhead {facts['overhead']:.0%}" if shown else ""
    return (
        f"; this session took {clock(facts['wall_time_s'])}{startup}, "
        f"with {clock(trained_s)} of training at {slots} at a time{overhead}"
    )


_ENDINGS = {
    "done": "Done",
    "exhausted": "Every feasible layout and recipe was tried",
    "interrupted": "Interrupted, nothing is lost",
    "time-budget": "The time budget is spent",
    "epoch-budget": "The epoch budget is spent",
    "disk-quota": "The disk quota leaves no room for another trial, nothing is lost",
    "failed": "Stopped because all trials fail",
}

BUDGETS = ("time-budget", "epoch-budget", "disk-quota")


def _larger_budget(reason: str, config: RunConfig) -> list[str]:
    """The flag that raises the spent budget for a resume; empty where no budget was spent."""
    if reason == "epoch-budget":
        return [f"--epoch-budget {2 * (config.epoch_budget or 0)}"]
    if reason == "disk-quota":
        return [f"--disk-quota {-(-2 * (config.disk_quota or 0) // 2**20)}M"]
    return ["--time-budget 1h"] if reason == "time-budget" else []
