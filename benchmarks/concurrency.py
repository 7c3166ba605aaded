"""How many trainings at a time give the highest throughput, in images per second of all of them together?

Usage: python -m benchmarks.concurrency [--device D] [--at-once 1 2 ...] [--seconds N] [--rounds N]

The networks are a small, a medium and a large one: the first student project's ResNet-12, the layout with the median
FLOPs of the default space, and the second project's ResNet-24, on noise in CIFAR-10's shape. N trainings are N
processes that share the device, in the environment of a search's trials. On a CPU the cores are divided among them; on
a GPU each has the same number of host threads. Once each has trained one epoch, all start together and train short
epochs for --seconds. Each round measures every number once, and a figure is the median over the rounds. The last line
is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import sys
import time
from collections.abc import Sequence
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from typing import Any

import torch

from benchmarks.training.arms import noise, with_environment
from benchmarks.training.speed import LARGE, MEDIAN, SMALL, count, load, networks
from model_zoo import ResNetLayout
from trainables.process_settings import environment, prepare_process
from trainables.recipe import Recipe
from trainables.training import Trainer

START_S = 300
"""Longest wait for a process to be ready, seconds."""


def rate_together(layout: ResNetLayout, at_once: int, threads: int, options: argparse.Namespace) -> float:
    """Images per second of `at_once` trainings of `layout` together, each with `threads` threads.

    Raises:
        RuntimeError: a training failed.
    """
    context = multiprocessing.get_context("spawn")
    ready, rates = context.Barrier(at_once), context.Queue()
    arguments = (layout.to_dict(), options.batch, options.batches, threads, options.device, options.seconds)
    with with_environment(environment()):
        processes = [context.Process(target=_train, args=(*arguments, ready, rates)) for _ in range(at_once)]
        for process in processes:
            process.start()
    found = [rates.get() for _ in processes]
    for process in processes:
        process.join()
    failed = [answer for answer in found if isinstance(answer, str)]
    if failed:
        raise RuntimeError(f"{layout.layout_id}, {at_once} at once: {failed[0]}")
    return float(sum(found))


def _train(
    layout: dict[str, Any],
    batch: int,
    batches: int,
    threads: int,
    device: str,
    seconds: float,
    ready: Barrier,
    rates: Queue[float | str],
) -> None:
    try:
        prepare_process(threads, torch.device(device))
        data, recipe = noise(batch * batches), Recipe(schedule="constant", batch_size=batch)
        trainer = Trainer(ResNetLayout.from_dict(layout), recipe, data, torch.device(device), epochs=100_000)
        trainer.train_epoch()
        ready.wait(START_S)
        images, started = 0, time.perf_counter()
        while time.perf_counter() < started + seconds:
            trainer.train_epoch()
            images += batch * batches
        rates.put(images / (time.perf_counter() - started))
    except Exception as error:
        ready.abort()
        rates.put(repr(error))


def main(given: Sequence[str] | None = None) -> dict[str, Any]:
    """Measures each network for every number of trainings and returns the figures."""
    options = _arguments(given)
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    on_cpu = options.device == "cpu"
    numbers = options.at_once or ([n for n in (1, 2, 4, 8, 16) if n <= cpus] if on_cpu else [1, 2, 3, 4, 6, 8])
    found: dict[str, Any] = {"load_before": load(), "cpus": cpus, "rounds": options.rounds, "batch": options.batch}
    found["device"] = "cpu" if on_cpu else torch.cuda.get_device_name()
    for name, layout in networks().items():
        if name not in options.networks:
            continue
        rates: dict[int, list[float]] = {n: [] for n in numbers}
        for _ in range(options.rounds):
            for n in numbers:
                threads = max(1, cpus // n) if on_cpu else options.threads
                rates[n].append(rate_together(layout, n, threads, options))
        medians = {n: round(statistics.median(of), 1) for n, of in rates.items()}
        ratios = {
            n: statistics.median(a / b for a, b in zip(rates[n], rates[numbers[0]], strict=True)) for n in numbers
        }
        found[name] = {
            "images_per_s": medians,
            f"over_{numbers[0]}": {n: round(ratio, 2) for n, ratio in ratios.items()},
            "best": max(ratios, key=lambda n: ratios[n]),
        }
        sys.stdout.write(f"{name}: {json.dumps(found[name])}\n")
        sys.stdout.flush()
    return found | {"load_after": load()}


def _arguments(given: Sequence[str] | None) -> argparse.Namespace:
    summary = (__doc__ or "").splitlines()[0]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.concurrency", description=summary)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="cpu or cuda")
    parser.add_argument("--at-once", nargs="+", type=count, help="numbers of trainings; ratios are to the first")
    parser.add_argument("--threads", type=count, default=2, help="host threads per training on a GPU")
    parser.add_argument("--seconds", type=float, default=20.0, help="seconds of training per measurement")
    parser.add_argument("--rounds", type=count, default=3, help="measurements of each number")
    parser.add_argument("--batch", type=count, default=128, help="images per step")
    parser.add_argument("--batches", type=count, help="steps per epoch; 4, on a GPU 88, a quarter of CIFAR-10's")
    parser.add_argument("--networks", nargs="+", choices=(SMALL, LARGE, MEDIAN), default=[SMALL, MEDIAN, LARGE])
    options = parser.parse_args(given)
    # The waits and the validation at the end of an epoch of 4 steps would leave a GPU idle, and so flatter sharing it.
    options.batches = options.batches or (88 if options.device.startswith("cuda") else 4)
    return options


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main()) + "\n")
