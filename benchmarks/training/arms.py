"""Training loops that take turns, each in its own process with its own settings.

An arm is `ours` (blocks not compiled), `ours-compiled` or `reference`. Ours run in the environment that a search gives
its trials, the reference in that of the caller. Only one arm trains at a time; the others wait at a pipe.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import torch

from benchmarks.training.phases import PhaseClock
from benchmarks.training.reference_loop import ReferenceLoop
from model_zoo import ResNetLayout
from trainables.data import TrainingSet, load_training_set
from trainables.process_settings import environment, prepare_process
from trainables.recipe import Recipe
from trainables.training import Trainer

ARMS = ("ours", "ours-compiled", "reference")
NOISE = "noise"
"""A data set that needs no file: each class is a brightness, with noise on top."""


@dataclass(frozen=True, slots=True)
class Job:
    """What an arm trains, and how."""

    layout: dict[str, Any]
    recipe: dict[str, Any]
    epochs: int
    dataset: str
    data_dir: str | None
    images: int
    """Training images per epoch; a ninth as many are validated."""
    threads: int
    workers: int
    """Processes of the reference's data loader."""
    device: str


def training_set(name: str, data_dir: str | None, images: int) -> TrainingSet:
    """`images` training images of the data set, and a ninth as many validation images, as in a real split."""
    data = noise(images) if name == NOISE else load_training_set(name, data_dir, train_images=images)
    return replace(data, val_indices=data.val_indices[: max(1, images // 9)])


def noise(images: int) -> TrainingSet:
    """`images` training images of 32 x 32 x 3 noise, whose brightness is that of one of 10 classes, and a ninth as many
    validation images.
    """
    draw, total = np.random.default_rng(0), images + max(1, images // 9)
    labels = draw.integers(0, 10, total)
    pixels = draw.integers(0, 120, (total, 32, 32, 3)) + 15 * labels[:, None, None, None]
    stored = pixels.astype(np.uint8)
    scaled = stored[:512] / 255
    return TrainingSet(
        name=NOISE,
        images=stored,
        labels=labels,
        train_indices=np.arange(images),
        val_indices=np.arange(images, total),
        mean=tuple(scaled.mean((0, 1, 2)).tolist()),
        std=tuple(scaled.std((0, 1, 2)).tolist()),
        classes=10,
        class_names=tuple(map(str, range(10))),
        sha256=NOISE,
    )


class Arm:
    """One loop in its own process."""

    def __init__(self, name: str, job: Job) -> None:
        self.name = name
        ours = environment() if name != "reference" else {}
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        with with_environment(ours):
            # not a daemon, because the reference's data loader starts processes
            self._process = context.Process(target=_serve, args=(name, job, theirs))
            self._process.start()
        theirs.close()

    def epoch(self) -> dict[str, Any]:
        """Trains one epoch; returns `images`, `train_loss`, `train_time_s`, `eval_time_s` and `phases`.

        Raises:
            RuntimeError: the loop failed; the message is its traceback.
        """
        try:
            self._pipe.send("epoch")
            answer: dict[str, Any] = self._pipe.recv()
        except (EOFError, OSError):
            raise RuntimeError(f"{self.name}: its process died") from None
        if "error" in answer:
            raise RuntimeError(f"{self.name}: {answer['error']}")
        return answer

    def close(self) -> None:
        """Ends the process."""
        with contextlib.suppress(OSError):
            self._pipe.send("end")
        self._process.join(30)
        if self._process.is_alive():
            self._process.terminate()
            self._process.join()


def _serve(name: str, job: Job, pipe: Connection) -> None:
    try:
        device = torch.device(job.device)
        if name == "reference":
            torch.set_num_threads(job.threads)
        else:
            prepare_process(job.threads, device)
        layout, recipe = ResNetLayout.from_dict(job.layout), Recipe(**job.recipe)
        data = training_set(job.dataset, job.data_dir, job.images)
        loop: ReferenceLoop | Trainer
        if name == "reference":
            loop = ReferenceLoop(layout, recipe, data, device, job.workers)
        else:
            compile_ = "blocks" if name == "ours-compiled" else "off"
            loop = Trainer(layout, recipe, data, device, epochs=job.epochs, compile=compile_)  # type: ignore[arg-type]
        clock = PhaseClock(loop.network, loop.optimizer, device)
        while pipe.recv() == "epoch":
            clock.begin()
            report = loop.train_epoch()
            images = report.images if hasattr(report, "images") else _images(job.images, recipe.batch_size)
            pipe.send(
                {
                    "images": images,
                    "train_loss": report.train_loss,
                    "train_time_s": report.train_time_s,
                    "eval_time_s": report.eval_time_s,
                    "phases": clock.seconds(),
                }
            )
    except EOFError:
        return  # the parent process has ended
    except Exception:
        with contextlib.suppress(OSError):
            pipe.recv()
            pipe.send({"error": traceback.format_exc()})


def _images(images: int, batch: int) -> int:
    """The images that our loop trains on in an epoch, which are those in full batches."""
    return min(max(1, images // batch) * batch, images)


@contextlib.contextmanager
def with_environment(values: dict[str, str]) -> Iterator[None]:
    """Sets these environment variables for processes that are started in the body."""
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        for name in values:
            os.environ.pop(name) if name not in before else os.environ.update({name: before[name]})
