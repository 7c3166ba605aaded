"""How much longer does a whole search take than the same trainings alone, and where does the difference come from?

Usage: python -m benchmarks.overhead [--seconds 20] [--trials N] [--cpus-per-trial N] [--train-images N] [--rounds N]

First, `python -m search.run` searches on CIFAR-10, with trials of about --seconds each and no early stopping. Then
`Trainer` alone trains the same layouts and recipes for the same epochs, read from the record of the search, in as many
processes as the search had slots; each free process takes the next training. These bare trainings have no Ray, record,
checkpoint or search, but the start of their processes and the opening of the data are in their time, as they are in the
search. The search is timed from outside, including its start. Overhead is the ratio of the two wall-clock times, minus
1; `benchmarks.run_overhead` shows when slots were not training. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from multiprocessing.queues import Queue
from pathlib import Path
from queue import Empty
from typing import Any

import torch

from benchmarks.run_overhead import figures, gaps
from benchmarks.training.arms import with_environment
from benchmarks.training.speed import count, load
from model_zoo import ResNetLayout
from results import RunState, read_record
from search.runs import read_config
from trainables.data import load_training_set
from trainables.process_settings import environment, prepare_process
from trainables.recipe import Recipe
from trainables.training import Trainer

TARGETS = {20: 0.15, 120: 0.05}
"""The highest acceptable overhead, by the seconds of a trial."""
MOST_GAP_S = 0.5
"""The highest acceptable median of the seconds from a trial's end to the start of the next one in its slot."""
RAY_NICENESS = 15
"""The niceness that Ray gives its workers; other work at normal priority leaves them hardly any CPU time."""
TYPICAL = (2, 2, 2), (16, 32, 64)
"""Blocks and channels of about the size of the search's, with which the seconds of an epoch are measured."""

Training = tuple[dict[str, Any], dict[str, Any], int, tuple[int, ...], int]
"""A layout, a recipe, a seed, the rungs, and the number of epochs trained."""


def trainings_of(state: RunState, rungs: tuple[int, ...]) -> list[Training]:
    """The trainings of the run with `state`, in the order of its trials."""
    return [
        (trial.layout, trial.settings, trial.seed, rungs, trial.epochs)
        for _, trial in sorted(state.trials.items())
        if trial.epochs
    ]


def bare(
    trainings: Sequence[Training], data: dict[str, Any], slots: int, threads: int
) -> tuple[float, float, list[float]]:
    """Runs the trainings on the CPU in `slots` processes.

    Returns wall-clock seconds, seconds of training and validation, and the last validation accuracy of each training.

    Raises:
        RuntimeError: a training failed.
    """
    context = multiprocessing.get_context("spawn")
    waiting: Queue[Any] = context.Queue()
    done: Queue[Any] = context.Queue()
    started = time.perf_counter()
    for item in [*enumerate(trainings), *[None] * slots]:
        waiting.put(item)
    with with_environment(environment()):
        processes = [
            context.Process(target=_train_as_ray_does, args=(waiting, done, data, threads)) for _ in range(slots)
        ]
        for process in processes:
            process.start()
    found: dict[int, tuple[float, float]] = {}
    while len(found) < len(trainings):
        try:
            number, outcome = done.get(timeout=5)
        except Empty:
            died = [process.exitcode for process in processes if process.exitcode]
            if not died:
                continue
            number, outcome = len(found), f"a process died with exit code {died[0]}"
        if isinstance(outcome, str):
            for process in processes:
                process.terminate()
            raise RuntimeError(f"training {number}: {outcome}")
        found[number] = outcome
    for process in processes:
        process.join()
    wall_s = time.perf_counter() - started
    outcomes = [found[number] for number in range(len(trainings))]
    return wall_s, sum(seconds for seconds, _ in outcomes), [accuracy for _, accuracy in outcomes]


def _train_as_ray_does(waiting: Queue[Any], done: Queue[Any], data: dict[str, Any], threads: int) -> None:
    os.nice(RAY_NICENESS)  # so that other work on the machine slows down both sides equally
    _train_all(waiting, done, data, threads)


def _train_all(waiting: Queue[Any], done: Queue[Any], data: dict[str, Any], threads: int) -> None:
    device = torch.device("cpu")
    prepare_process(threads, device)
    images = load_training_set(**data)
    while (item := waiting.get()) is not None:
        number, (layout, recipe, seed, rungs, epochs) = item
        try:
            what = ResNetLayout.from_dict(layout), Recipe(**recipe)
            trainer = Trainer(*what, images, device, epochs=rungs[-1], seed=seed, rungs=rungs)
            reports = [trainer.train_epoch() for _ in range(epochs)]
            spent = sum(report.train_time_s + report.eval_time_s for report in reports)
            done.put((number, (spent, reports[-1].val_accuracy)))
        except Exception as error:
            done.put((number, repr(error)))
            return


def searched(storage: Path, name: str, flags: Sequence[str]) -> float:
    """Runs a search and returns its wall-clock seconds, including the start and the end of the command.

    Raises:
        SystemExit: it failed.
    """
    command = [sys.executable, "-m", "search.run", "--name", name, "--storage", str(storage), "--quiet", *flags]
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"error: {' '.join(command)}: exit code {done.returncode}\n{done.stderr}")
    return time.perf_counter() - started


def compared(storage: Path, name: str, flags: Sequence[str]) -> dict[str, Any]:
    """Runs one search and then the same trainings alone; returns the figures of both."""
    search_s = searched(storage, name, flags)
    state, config = read_record(storage / name), read_config(storage / name)
    concurrency = state.sessions[max(state.sessions)].concurrency
    trainings = trainings_of(state, config.rungs)
    bare_s, training_s, accuracies = bare(trainings, config.data_arguments, concurrency, config.cpus_per_trial)
    reported = [state.reports[n][-1].val_accuracy for n in sorted(state.trials) if state.trials[n].epochs]
    where = figures(storage / name)
    between = gaps(state, max(state.sessions))
    return {
        "search_s": round(search_s, 1),
        "bare_s": round(bare_s, 1),
        "overhead": round(search_s / bare_s - 1, 4),
        "training_s": {"search": where["training_s"], "bare": round(training_s, 1)},
        "same_accuracies": reported == accuracies,
        "gap_s": round(statistics.median(between), 3) if between else None,
        "search": where,
    }


def epoch_seconds(data: dict[str, Any], threads: int) -> float:
    """Seconds of an epoch of `TYPICAL` on this machine, including validation, after one epoch to warm up."""
    torch.set_num_threads(threads)
    images = load_training_set(**data)
    layout = ResNetLayout(*TYPICAL, in_channels=images.images.shape[-1], classes=images.classes)
    trainer = Trainer(layout, Recipe(), images, torch.device("cpu"), epochs=2)
    trainer.train_epoch()
    report = trainer.train_epoch()
    return report.train_time_s + report.eval_time_s


def main(given: Sequence[str] | None = None) -> dict[str, Any]:
    """Runs all rounds and returns their figures."""
    options = _arguments(given)
    images = options.train_images
    data = {"name": options.dataset, "data_dir": options.data_dir, "train_images": images}
    epochs = max(1, round(options.seconds / epoch_seconds(data, options.cpus_per_trial)))
    flags = [f"--dataset={options.dataset}", f"--trials={options.trials}", f"--train-images={images}"]
    flags += [f"--max-epochs={epochs}", f"--grace-epochs={epochs}", f"--cpus-per-trial={options.cpus_per_trial}"]
    flags += ["--min-params=150000", "--max-params=200000", "--sampler=random", "--set=space.stages=[3]"]
    flags += ["--set=space.blocks=[1,3]", "--set=space.channels=[16,24,32,48,64]", *options.flags]
    if options.data_dir is not None:
        flags.append(f"--data-dir={options.data_dir}")
    found: dict[str, Any] = {"load_before": load(), "seconds": options.seconds, "flags": flags, "rounds": []}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(options.rounds):
            found["rounds"].append(compared(Path(folder), f"round-{number}", flags))
            sys.stdout.write(f"{json.dumps(found['rounds'][-1])}\n")
            sys.stdout.flush()
    for name in ("overhead", "gap_s"):
        values = [of[name] for of in found["rounds"] if of[name] is not None]
        found[name] = statistics.median(values) if values else None
    targets = {"overhead": TARGETS.get(options.seconds), "gap_s": MOST_GAP_S}
    return found | {"targets": targets, "load_after": load()}


def _arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.overhead", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=count, default=20, help="seconds per trial; there are targets for 20 and 120")
    parser.add_argument("--trials", type=count, default=12, help="trials per search")
    parser.add_argument("--rounds", type=count, default=1, help="searches, each followed by its trainings alone")
    parser.add_argument("--cpus-per-trial", type=count, default=1, help="threads per trial")
    parser.add_argument("--train-images", type=count, default=2000, help="images per epoch")
    parser.add_argument("--dataset", default="cifar10", help="data set of the search")
    parser.add_argument("--data-dir", help="folder of the prepared data sets")
    parser.add_argument("flags", nargs="*", help="further flags of search.run, after --")
    return parser.parse_args(given)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main()) + "\n")
