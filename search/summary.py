"""The summary of a session, as text or as one JSON object, with the commands to run next."""

from __future__ import annotations

import json as jsonlib
import shlex
import sys
from pathlib import Path
from typing import Any

from rich.console import Console

from results import RunState
from results.wording import counted
from search.config import RunConfig
from search.layouts.enumeration import count_in_window
from search.runs.checkpoint_files import with_weights
from search.runs.ranking import ranked
from search.text import clock


def write_json(facts: dict[str, Any], folder: Path) -> None:
    """Writes the `facts` of a session, and the leaderboard of the run in `folder`, as one JSON object to stdout."""
    from results import rank_table, read_run
    from results.ranking.rendering import OutputFormat, render_board
    from results.record.reading import with_data

    board = rank_table(with_data(read_run(folder).trials, folder))
    rows = jsonlib.loads(render_board(board, OutputFormat.json))
    sys.stdout.write(jsonlib.dumps(facts | {"leaderboard": rows}) + "\n")


def summarise(
    facts: dict[str, Any], folder: Path, storage: Path, config: RunConfig, state: RunState, console: Console
) -> None:
    """Prints the leaderboard, the `facts` of a session, the errors of its trials and what to do next."""
    from results import rank_table, read_run
    from results.ranking.query import left_out
    from results.ranking.rendering import OutputFormat, write_board

    def line(text: str) -> None:
        console.print(text, highlight=False, soft_wrap=True, markup=False)

    by_mean = config.trials_per_place > 1
    write_board(rank_table(read_run(folder).trials, over_seeds=by_mean), OutputFormat.table, top=10)
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
    run, in_storage = shown_name(folder, storage), storage_flag(storage)
    line("")
    line("Next:")
    unfinished = len(state.trials) < config.trials or any(not trial.ended for trial in state.trials.values())
    if unfinished and facts["reason"] != "exhausted":
        line(f"  python -m search.run{in_storage} --resume {run}{_larger_budget(facts['reason'], config)}")
    elif facts["reason"] != "exhausted" and not _everything_tried(config, state):
        line(f"  python -m search.run{in_storage} --resume {run} --trials {2 * config.trials}")
    if config.replicates > 1 and not by_mean:
        line(f"  python -m results.leaderboard{in_storage} {run} --over-seeds")
    fidelity = " --full-fidelity" if any(trial.status == "completed" for trial in state.trials.values()) else ""
    line(f"  python -m results.leaderboard{in_storage} {run}{fidelity} --format csv")
    best, kept = ranked(state, by_mean), with_weights(folder, state, by_mean)
    if kept and (not unfinished or facts["reason"] == "exhausted"):
        chosen = "" if kept.trial == best[0].trial else f" --trial {kept.trial}"
        line(f"  python -m search.evaluate{in_storage} {run}{chosen}")


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


def _spent(facts: dict[str, Any]) -> str:
    if not facts["concurrency"]:
        return "; nothing was left to run" if facts["reason"] == "done" else "; nothing was run"
    overhead = f", overhead {facts['overhead']:.0%}" if facts["overhead"] is not None else ""
    trained, wall = clock(facts["training_time_s"]), clock(facts["wall_time_s"])
    return f"; this session took {wall}, with {trained} of training at {facts['concurrency']} at a time{overhead}"


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


def _larger_budget(reason: str, config: RunConfig) -> str:
    """The flag that raises the spent budget for a resume; empty where no budget was spent."""
    if reason == "epoch-budget":
        return f" --epoch-budget {2 * (config.epoch_budget or 0)}"
    if reason == "disk-quota":
        return f" --disk-quota {-(-2 * (config.disk_quota or 0) // 2**20)}M"
    return " --time-budget 1h" if reason == "time-budget" else ""
