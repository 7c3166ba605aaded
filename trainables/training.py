"""The training loop: one network, one data set, one epoch at a time, on any device, with or without Ray."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from model_zoo import ResNetLayout
from trainables.augmentation.batch import augmented_batch, first_flips, resized
from trainables.augmentation.mixing import mixed_batch, mixing_strength
from trainables.checkpoints import files as checkpoints
from trainables.checkpoints.identity import identity, past
from trainables.data import TrainingSet
from trainables.devices import autocast, resolve_precision
from trainables.errors import CheckpointError, DivergedError
from trainables.evaluation import answers
from trainables.host_images import HostImages
from trainables.image_sizes import size_at, sizes_of_training
from trainables.network_setup import Dropping, starting_network
from trainables.optimization.update import Update
from trainables.plateau import Plateau
from trainables.process_settings import Compile, compile_blocks, compile_cache, compiles, uncompiled
from trainables.recipe import Recipe
from trainables.schedule import progress


@dataclass(frozen=True, slots=True)
class EpochReport:
    """The results of one epoch of training."""

    epoch: int
    """Epochs trained so far, from 1."""
    rung: int | None
    """Number, from 1, of the rung at the end of this epoch, or of the next rung if patience ends here; else None."""
    val_accuracy: float
    """Share of the validation images classified correctly, in [0, 1]; NaN if there are none."""
    best_accuracy: float
    """Highest `val_accuracy` of the epochs so far."""
    best_epoch: int
    """The first epoch with `best_accuracy`."""
    val_loss: float
    """Mean cross-entropy over the validation images, nats, without label smoothing; NaN if there are none."""
    train_accuracy: float
    """Share of the augmented training images classified correctly, in [0, 1]; a mixed image counts by the share of
    the predicted label."""
    train_loss: float
    """Mean training loss, nats, with label smoothing and mixed labels."""
    learning_rate: float
    """Learning rate of the epoch's last step."""
    train_time_s: float
    """Seconds spent on training steps."""
    eval_time_s: float
    """Seconds spent on validation."""
    answers: str | None = None
    """At a rung, which validation images are classified correctly, as `Answers.encoded` writes it."""


class Trainer:
    """Trains one layout with one recipe for `epochs` epochs: call `train_epoch` until it is `finished`.

    Order, augmentation and initial weights depend only on `seed` and the epoch's number, so a trainer that loads a
    checkpoint continues exactly like the one that saved it, to the last bit on a CPU with the same number of threads.
    `rungs` are the epochs at which the schedule anneals; by default only the last one. `compile` changes the speed and
    the last bits. Images of more than `room` bytes stay on the host, and each batch is copied to the device.

    Without validation images it reports no accuracy.

    Raises:
        ValueError: the rungs do not ascend to `epochs`, the recipe needs validation images and there are none, or it
            starts with images that are not smaller than those of the data set.
    """

    def __init__(
        self,
        layout: ResNetLayout,
        recipe: Recipe,
        data: TrainingSet,
        device: torch.device,
        *,
        epochs: int,
        seed: int = 0,
        rungs: tuple[int, ...] = (),
        compile: Compile = "auto",
        room: int | None = None,
    ) -> None:
        self.layout, self.recipe, self.device, self.epochs, self.seed = layout, recipe, device, epochs, seed
        self.rungs = rungs or (epochs,)
        if epochs < 1:
            raise ValueError(f"epochs: {epochs} given; use at least 1")
        if self.rungs[-1] != epochs or any(end <= start for start, end in pairwise((0, *self.rungs))):
            raise ValueError(f"rungs: {self.rungs} given; use ascending epochs from 1 that end with {epochs}")
        if not len(data.val_indices) and (fields := recipe.judged_by):
            raise ValueError(f"{fields[0]}: needs validation images, but all images are trained on")
        height, width = data.images.shape[1:3]
        if problems := recipe.problems_on((height, width)):
            raise ValueError(problems[0])
        self.sizes = sizes_of_training(recipe.first_image_size, recipe.resizing_share, (height, width))
        """The sizes of the images over the training, each with its share of the steps."""
        self.epoch = 0
        self.last_report: EpochReport | None = None
        self.plateau = Plateau()
        self.best_weights: dict[str, Tensor] = {}
        """The weights and buffers that were validated in the best epoch, for a recipe that keeps them."""
        self.data = data.identity
        self.precision = resolve_precision(recipe, device)
        # On the CPU the images stay in the shared memory map; elsewhere those of the splits are moved once, as uint8.
        images, places, used = torch.from_numpy(data.images), np.arange(len(data.images)), data.used
        self.images: Tensor | HostImages = images
        if room is not None and len(used) * data.images[0].nbytes > room:
            self.images = HostImages(images, device)
        elif device.type != "cpu":
            if len(used) < len(places):
                images, places = torch.from_numpy(data.images[used]), used
            self.images = images.to(device)
        self.labels = torch.from_numpy(data.labels[places]).to(device, torch.int64)
        self.train_indices = torch.from_numpy(np.searchsorted(places, data.train_indices)).to(device)
        self.val_indices = torch.from_numpy(np.searchsorted(places, data.val_indices)).to(device)
        self.mean = torch.tensor(data.mean, device=device)
        self.std = torch.tensor(data.std, device=device)
        self.first_flips: Tensor | None = None
        if recipe.flip_order == "alternating":
            self.first_flips = first_flips(len(data.images), seed)[torch.from_numpy(places)].to(device)
        self.network = starting_network(layout, recipe, seed).to(device).to(memory_format=torch.channels_last)
        self.dropping = Dropping(self.network, recipe, device)
        self.update = Update(self.network, recipe, device, self.steps_per_epoch, self.rungs)
        self.optimizer = self.update.optimizer
        self.compiled = compiles(compile, device)
        if self.compiled:
            compile_blocks(self.network, compile_cache())

    @property
    def steps_per_epoch(self) -> int:
        """The number of batches in an epoch."""
        return self.recipe.batches(len(self.train_indices))

    @property
    def finished(self) -> bool:
        """Whether all epochs are trained or the recipe's patience is exhausted."""
        return self.last_report is not None and self._ends(self.epoch, self.last_report.best_epoch)

    def _ends(self, epoch: int, best_epoch: int) -> bool:
        patience = self.recipe.patience_epochs
        return epoch >= self.epochs or 0 < patience <= epoch - best_epoch

    def train_epoch(self) -> EpochReport:
        """Trains one pass over the training images and validates, if there are validation images.

        Raises:
            DivergedError: a loss is not finite; raised at the step on a CPU, at the end of the epoch elsewhere.
            ValueError: the training is finished.
        """
        if self.finished:
            limit = "epochs" if self.epoch >= self.epochs else "patience_epochs"
            raise ValueError(f"epoch {self.epoch + 1}: the training ends with epoch {self.epoch}; raise its {limit}")
        started = time.perf_counter()
        seed = epoch_seed(self.seed, self.epoch)
        draw, host_draw = torch.Generator(self.device).manual_seed(seed), np.random.default_rng(seed)
        order = self.train_indices[torch.randperm(len(self.train_indices), generator=draw, device=self.device)]
        self.network.train()
        totals = torch.zeros(2, device=self.device)  # summed loss, correct
        rate = 0.0
        if isinstance(self.images, HostImages):
            self.images.begin(torch.split(order, self.recipe.batch_size)[: self.steps_per_epoch])
        for i in range(self.steps_per_epoch):
            step = self.epoch * self.steps_per_epoch + i
            rate = self.update.prepare(step, self.plateau.drops)
            index = order[i * self.recipe.batch_size : (i + 1) * self.recipe.batch_size]
            totals += self._train_step(step, index, draw, host_draw)
        images = min(self.steps_per_epoch * self.recipe.batch_size, len(order))
        train_loss, train_accuracy = (total / images for total in totals.tolist())
        self._require_finite(train_loss)
        trained = time.perf_counter()
        given = None
        val_accuracy = val_loss = math.nan
        if len(self.val_indices):
            with uncompiled(self.compiled):
                given = answers(
                    self.update.result, self.images, self.labels, self.val_indices, self.mean, self.std, self.precision
                )
            val_accuracy, val_loss = given.accuracy, given.loss
            self._require_finite(val_loss)
        self.epoch += 1
        if self.recipe.schedule == "plateau":
            self.plateau = self.plateau.after(self.recipe, val_accuracy, val_loss)
        best_accuracy, best_epoch = val_accuracy, self.epoch
        if self.last_report is not None and self.last_report.best_accuracy >= val_accuracy:
            best_accuracy, best_epoch = self.last_report.best_accuracy, self.last_report.best_epoch
        if self.recipe.keep_weights == "best" and best_epoch == self.epoch:
            self.best_weights = {name: value.clone() for name, value in self.update.result.state_dict().items()}
        at_rung = self.epoch in self.rungs or self._ends(self.epoch, best_epoch)
        self.last_report = EpochReport(
            epoch=self.epoch,
            rung=1 + sum(rung < self.epoch for rung in self.rungs) if at_rung else None,
            val_accuracy=val_accuracy,
            best_accuracy=best_accuracy,
            best_epoch=best_epoch,
            val_loss=val_loss,
            train_accuracy=train_accuracy,
            train_loss=train_loss,
            learning_rate=rate,
            train_time_s=trained - started,
            eval_time_s=time.perf_counter() - trained,
            answers=given.encoded() if given is not None and at_rung else None,
        )
        return self.last_report

    def _train_step(self, step: int, index: Tensor, draw: torch.Generator, host_draw: np.random.Generator) -> Tensor:
        """Takes one step; returns its summed loss and number of correct predictions, (2,), on the device."""
        recipe = self.recipe
        flipped = None if self.first_flips is None else self.first_flips[index] ^ bool(self.epoch % 2)
        images, places = self.images, index
        if isinstance(images, HostImages):
            images, places = images[index], torch.arange(len(index), device=self.device)
        x = augmented_batch(images, places, recipe, self.mean, self.std, draw, host_draw, flipped)
        done = progress(recipe, step, self.steps_per_epoch, self.rungs)
        x = resized(x, size_at(self.sizes, done))
        strength = mixing_strength(recipe, done)
        x, labels = mixed_batch(x, self.labels[index], recipe, draw, host_draw, strength)
        self.dropping.draw(len(index), draw)

        def answers() -> Tensor:
            with autocast(self.precision, self.device):
                logits: Tensor = self.network(x)
            return logits.float()

        logits = answers()
        loss = labels.loss(logits, recipe.label_smoothing)
        if self.device.type == "cpu":  # elsewhere this would wait for the device at every step
            self._require_finite(loss.item())
        self.update.take(step, loss, lambda: labels.loss(answers(), recipe.label_smoothing))
        with torch.no_grad():
            return torch.stack([loss * len(index), labels.correct(logits)])

    def _require_finite(self, loss: float) -> None:
        if not math.isfinite(loss):
            raise DivergedError(
                f"loss {loss} in epoch {self.epoch + 1}; lower recipe.learning_rate ({self.recipe.learning_rate:g})"
            )

    def save(self, path: Path) -> None:
        """Writes weights, averaged weights, optimizer state and the last report to `path`, completely or not at all.

        With the report goes what the schedule plateau remembers.

        Raises:
            ValueError: no epoch has been trained yet.
        """
        if self.last_report is None:
            raise ValueError("epoch 0: nothing to save; train an epoch first")
        report = asdict(self.last_report)
        if self.recipe.schedule == "plateau":
            report["plateau"] = asdict(self.plateau)
        checkpoints.save(
            path, self.network, self.optimizer, self._identity(), report, self.best_weights, self.update.averaged
        )

    def load(self, path: Path) -> None:
        """Continues from the file that `save` wrote, even with other epochs and rungs if their past is the same.

        Raises:
            CheckpointError: the file is damaged or belongs to another layout, recipe, ladder of rungs or data set.
        """
        with_best = self.recipe.keep_weights == "best"
        report, best = checkpoints.load(
            path, self.network, self.optimizer, self._identity(), past, with_best, self.update.averaged
        )
        try:
            if self.recipe.schedule == "plateau":
                self.plateau = Plateau(**report.pop("plateau", None))
            self.last_report = EpochReport(**report)
        except TypeError as error:
            raise CheckpointError(f"{path}: its report has another version ({str(error)!r}); remove it") from error
        self.epoch = self.last_report.epoch
        self.best_weights = {name: value.to(self.device) for name, value in best.items()}

    def _identity(self) -> dict[str, object]:
        return identity(self.layout, self.recipe, self.rungs, self.seed, self.data)


def epoch_seed(seed: int, epoch: int) -> int:
    """The seed, below 2**32, of the order and the augmentation of `epoch`, counted from 0.

    Both are mixed into 32 bits, because torch's CPU generator ignores the rest. Source: numpy.random.SeedSequence.
    """
    return int(np.random.SeedSequence((seed, epoch)).generate_state(1)[0])
