"""Does a search survive being killed? Kills one at every kind of moment, resumes it to its end, and counts the cost.

Usage: python -m benchmarks.chaos --kills 50 [--trials N] [--seed S] [--compare] [--refit] [--folder DIR]

A real search on digits is started, killed with SIGKILL or stopped by Ctrl-C or SIGTERM at moments drawn from the seed
(`points`), and resumed until its trials are done. After some kills its folder is moved or its files are torn
(`between`). Then its files are checked (`checks`), and the cost of every kill is determined (`losses`). Two trials run
at a time. With `--refit` the seeds of a refit take the place of the trials of a search. With `--compare` it is one
trial at a time, and the leaderboard is compared with that of the same search without a kill. The last line is one JSON
object. Linux only.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.chaos.campaign import TRIALS_A_KILL, WHOLE, Campaign, plan, plan_actions
from benchmarks.chaos.checks import differences, problems
from benchmarks.chaos.losses import Kill, table
from benchmarks.chaos.points import POINTS
from results import read_record
from search.machine import available_cpus


def main(given: Sequence[str] | None = None) -> int:
    """Runs the benchmark; returns exit code 0 if nothing was lost, repeated or wrong, otherwise 1."""
    options = _arguments(given)
    storage = Path(options.folder or tempfile.mkdtemp(prefix="chaos-")).absolute()
    trials = options.trials or TRIALS_A_KILL * options.kills
    slots = 1 if options.compare else min(2, available_cpus())
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="chaos-ray-", dir="/tmp") as ray_folder:
        actions = plan_actions(options.kills, options.seed, compared=options.compare or options.refit)
        flags = (f"--concurrency={slots}",)
        campaign = Campaign(storage, trials, options.seed, Path(ray_folder), flags, actions, options.refit)
        if options.refit:
            campaign.run_source()
        kills = campaign.run(plan(options.kills, options.seed))
        found = problems(campaign.folder, campaign.trials)
        if options.compare:
            campaign.run_whole()
            found += differences(storage, str(campaign.folder), WHOLE)
    facts = _facts(kills, campaign, found, compared=options.compare)
    facts["wall_time_s"] = round(time.monotonic() - started, 1)
    for line in (*table(kills), "", *(f"problem: {sentence}" for sentence in facts["problems"]), json.dumps(facts)):
        sys.stdout.write(f"{line}\n")
    return 1 if facts["problems"] else 0


def _facts(kills: Sequence[Kill], campaign: Campaign, found: list[str], *, compared: bool) -> dict[str, Any]:
    state = read_record(campaign.folder)
    retried, alone = sum(trial.retries for trial in state.trials.values()), sum(POINTS[k.point].survived for k in kills)
    if retried > alone:
        found = [*found, f"{retried} retries, but only {alone} workers were killed without their driver"]
    notes = [f"kill {number}, {kill.point}: {note}" for number, kill in enumerate(kills, 1) for note in kill.notes]
    return {
        "kills": len(kills),
        "points": dict(Counter(kill.point for kill in kills)),
        "between": dict(Counter(kill.between for kill in kills if kill.between)),
        "at_a_time": max(session.concurrency for session in state.sessions.values()),
        "trials": len(state.trials),
        "sessions": len(state.sessions),
        "epochs": sum(map(len, state.reports.values())),
        "retried": retried,
        "lost": sum(kill.lost for kill in kills),
        "repeated": sum(kill.repeated for kill in kills),
        "redone": sum(kill.redone for kill in kills),
        "hung": sum(kill.hung for kill in kills),
        "same_leaderboard": not any("differs" in sentence for sentence in found) if compared else None,
        "problems": found + notes,
    }


def _arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chaos", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=_count, default=50, help="number of kills and stops in total")
    parser.add_argument("--trials", type=_count, help="trials of the search at its start; by default two per kill")
    parser.add_argument("--seed", type=int, default=0, help="seed of the search and of the kills")
    parser.add_argument("--compare", action="store_true", help="one trial at a time, compared with an unkilled search")
    parser.add_argument("--refit", action="store_true", help="kill a refit of one trial instead of a search")
    parser.add_argument("--folder", type=Path, help="folder for the runs and logs; by default a new one in /tmp")
    return parser.parse_args(given)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} given; use a whole number of at least 1")
    return int(text)
