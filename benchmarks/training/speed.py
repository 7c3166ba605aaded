"""How many images per second does our training loop train, compared with the loop of student projects and the machine?

Usage: python -m benchmarks.training [--threads N] [--images N] [--rounds N] [--device D] [--compile off blocks]

There are four networks: the first student project's ResNet-12 (195,738 parameters), one of separable blocks of about
that size (190,946), the second project's ResNet-24 (4,918,602), and the layout with the median FLOPs of the default
space. Both loops train the same network with the same recipe on the same images, in alternating epochs, and every
figure is the median over the rounds; the first round warms up. Needs neither Ray nor Optuna. The last line is one JSON
object; the exit code is 1 if the results of the loops differ.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import statistics
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from benchmarks.training.arms import ARMS, Arm, Job
from benchmarks.training.roofline import MachineRates, copy_rate, matmul_rate, step_seconds
from model_zoo import PRESETS, ResNetLayout, count_flops, count_params
from search.layouts import LayoutSpace, sample_uniform
from trainables.devices import resolve_precision
from trainables.recipe import Recipe

SMALL, SEPARABLE, LARGE, MEDIAN = "arora-resnet12", "separable", "cerberus-resnet24", "median"
NETWORKS = (SMALL, SEPARABLE, LARGE, MEDIAN)
LEAST_BATCHES = 4
EPOCH_IMAGES = 50_000
"""Images of the epoch whose seconds are extrapolated; the student projects trained on 50,000 or 45,000."""
GPU_IMAGES = 45_000
"""Images of a whole epoch of CIFAR-10 beside its validation split."""
TRAINING_PASSES = 3
LOSS_APART = 0.5
"""Nats from which the difference of the loops' last training losses is too large; they draw different augmentations and
orders, and ours computes in bfloat16 if the device has it natively."""


def median_layout() -> ResNetLayout:
    """The layout with the median FLOPs among 501 drawn uniformly from the default space."""
    layouts = list(sample_uniform(LayoutSpace(), 501, np.random.default_rng(0)))
    return sorted(layouts, key=count_flops)[len(layouts) // 2]


def networks() -> dict[str, ResNetLayout]:
    """The layouts to measure, by name."""
    separable = ResNetLayout((2, 2, 2), (48, 88, 184), block="separable")
    return {SMALL: PRESETS[SMALL], SEPARABLE: separable, LARGE: PRESETS[LARGE], MEDIAN: median_layout()}


def images_of(layout: ResNetLayout, images: int, batch: int, device: str) -> int:
    """The images of an epoch, in full batches: `images` for the small network, fewer in proportion for larger FLOPs.

    On a GPU each network trains on all of them: what an epoch costs beside its steps would be most of a few steps.
    """
    share = 1.0 if _on_gpu(device) else count_flops(PRESETS[SMALL]) / count_flops(layout)
    return max(LEAST_BATCHES, int(images * min(1.0, share)) // batch) * batch


def compared(layout: ResNetLayout, arms: Sequence[str], options: argparse.Namespace) -> dict[str, Any]:
    """Measures one network; returns the figures of each arm and the ratios of the reference's seconds to ours.

    Raises:
        SystemExit: the loops trained on different numbers of images, or to losses that are not comparable.
    """
    recipe = Recipe(
        schedule="constant",
        learning_rate=0.02,
        batch_size=options.batch,
        precision=options.precision,
    )
    images = images_of(layout, options.images, options.batch, options.device)
    job = Job(
        layout.to_dict(),
        recipe.model_dump(),
        options.rounds + 1,
        options.dataset,
        options.data_dir,
        images,
        options.threads,
        options.workers,
        options.device,
    )
    rounds: list[dict[str, Any]] = []
    with contextlib.ExitStack() as opened:
        loops = {}
        for name in arms:
            loops[name] = Arm(name, job)
            opened.callback(loops[name].close)
        rounds.extend({name: loop.epoch() for name, loop in loops.items()} for _ in range(options.rounds + 1))
    last, timed = rounds[-1], rounds[1:]
    require_alike(last, images)
    found: dict[str, Any] = {
        "layout_id": layout.layout_id,
        "params": count_params(layout),
        "images": images,
        "validated": max(1, images // 9),
        "loss": {name: round(last[name]["train_loss"], 3) for name in arms},
        "first_epoch_s": {name: round(rounds[0][name]["train_time_s"], 1) for name in arms},
    }
    for name in arms:
        found[name] = figures([of[name] for of in timed], count_flops(layout))
    for name in arms:
        if name != "reference":
            pairs = [of["reference"]["train_time_s"] / of[name]["train_time_s"] for of in timed]
            found[f"{name}_over_reference"] = round(statistics.median(pairs), 2)
            found[f"{name}_over_reference_each"] = [round(pair, 2) for pair in pairs]
    return found


def require_alike(last: dict[str, dict[str, Any]], images: int) -> None:
    """Checks that all arms trained on `images` images and that their losses are comparable.

    Raises:
        SystemExit: they did not, or the losses are not.
    """
    for name, report in last.items():
        if report["images"] != images:
            raise SystemExit(f"error: {name} trained on {report['images']} images instead of {images}")
    losses = [report["train_loss"] for report in last.values()]
    if not all(map(math.isfinite, losses)) or max(losses) - min(losses) >= LOSS_APART:
        listed = ", ".join(f"{name} {report['train_loss']:.3f}" for name, report in last.items())
        raise SystemExit(f"error: the loops' losses differ: {listed}; expected a difference below {LOSS_APART}")


def figures(epochs: Sequence[dict[str, Any]], forward_flops: int) -> dict[str, Any]:
    """The medians over an arm's epochs: rates, seconds for 50,000 images, and the shares of its time."""
    rate = statistics.median(epoch["images"] / epoch["train_time_s"] for epoch in epochs)
    whole = [epoch["train_time_s"] + epoch["eval_time_s"] for epoch in epochs]
    shares = {
        phase: round(statistics.median(e["phases"][phase] / t for e, t in zip(epochs, whole, strict=True)), 3)
        for phase in epochs[0]["phases"]
    }
    evaluated = statistics.median(e["eval_time_s"] / t for e, t in zip(epochs, whole, strict=True))
    return {
        "images_per_s": round(rate, 1),
        "epoch_s": round(EPOCH_IMAGES / rate, 1),
        "gflops_per_s": round(TRAINING_PASSES * forward_flops * rate / 1e9, 1),
        "shares": {**shares, "evaluation": round(evaluated, 3)},
    }


def machine(options: argparse.Namespace) -> dict[str, Any]:
    """The device's own rates, with the same number of threads as the loops use."""
    device = torch.device(options.device)
    torch.set_num_threads(options.threads)
    half = resolve_precision(Recipe(precision=options.precision), device) == torch.bfloat16
    return {
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        "torch": torch.__version__,
        "threads": options.threads,
        "precision": "bfloat16" if half else "float32",
        "float32_gflops_per_s": round(matmul_rate(device, torch.float32) / 1e9, 1),
        "bfloat16_gflops_per_s": round(matmul_rate(device, torch.bfloat16) / 1e9, 1),
        "copy_gb_per_s": round(copy_rate(device) / 1e9, 1),
    }


def distances(found: dict[str, Any], layout: ResNetLayout, batch: int, facts: dict[str, Any], arm: str) -> None:
    """Adds to the figures of `arm` its share of the matrix multiply's rate and of the roofline."""
    rate = facts[f"{facts['precision']}_gflops_per_s"]
    rates = MachineRates(rate * 1e9, facts["copy_gb_per_s"] * 1e9)
    bound = batch / step_seconds(layout, 32, batch, rates, 2 if facts["precision"] == "bfloat16" else 4)
    found[arm]["of_matmul"] = round(found[arm]["gflops_per_s"] / rate, 3)
    found[arm]["roofline_images_per_s"] = round(bound, 1)
    found[arm]["of_roofline"] = round(found[arm]["images_per_s"] / bound, 3)


def main(given: Sequence[str] | None = None) -> dict[str, Any]:
    """Measures all requested networks and returns the figures."""
    options = _arguments(given)
    compile_ = options.compile or (["off", "blocks"] if _on_gpu(options.device) else ["off"])
    arms = [arm for arm, setting in zip(ARMS, ("off", "blocks"), strict=False) if setting in compile_]
    found: dict[str, Any] = {"load_before": load(), "rounds": options.rounds, "batch": options.batch}
    found["machine"] = machine(options)
    sys.stdout.write(f"machine: {found['machine']}\n")
    for name, layout in networks().items():
        if name not in options.networks:
            continue
        found[name] = compared(layout, [*arms, "reference"], options)
        for arm in arms:
            distances(found[name], layout, options.batch, found["machine"], arm)
        sys.stdout.write(f"{name}: {json.dumps(found[name])}\n")
        sys.stdout.flush()
    return found | {"load_after": load()}


def load() -> float:
    """The machine's load average over the last minute."""
    return round(os.getloadavg()[0], 1)


def _arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training", description=(__doc__ or "").splitlines()[0])
    default = "cuda" if torch.cuda.is_available() else "cpu"
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    parser.add_argument("--threads", type=count, default=cpus, help="CPU threads per loop")
    parser.add_argument("--workers", type=int, default=2, help="data loader processes of the reference")
    parser.add_argument(
        "--images", type=count, help="images per epoch of the small network; 2560, on a GPU 45,000 for each network"
    )
    parser.add_argument("--rounds", type=count, default=5, help="number of timed epochs per loop")
    parser.add_argument("--batch", type=count, default=128, help="images per step")
    parser.add_argument("--device", default=default, help="cpu or cuda")
    parser.add_argument(
        "--compile",
        nargs="+",
        choices=("off", "blocks"),
        help="whether our blocks are compiled; on CUDA both by default",
    )
    parser.add_argument(
        "--precision", choices=("auto", "float32", "bfloat16"), default="auto", help="arithmetic of our loop"
    )
    parser.add_argument("--dataset", default="cifar10", help="data set of 32 x 32 x 3 images, or noise")
    parser.add_argument("--data-dir", help="folder of the prepared data sets")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=NETWORKS)
    options = parser.parse_args(given)
    options.images = options.images or (GPU_IMAGES if _on_gpu(options.device) else 2560)
    return options


def _on_gpu(device: str) -> bool:
    return device.startswith("cuda")


def count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} given; use a whole number of at least 1")
    return int(text)
