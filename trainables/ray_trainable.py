"""The class that runs a trial under Ray Tune: a step is an epoch, and the trial's own checkpoint is its only state."""

from __future__ import annotations

import traceback
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ray import tune

from model_zoo import ResNetLayout
from trainables.errors import DivergedError
from trainables.recipe import Recipe


class TrialTrainable(tune.Trainable):  # type: ignore[misc]  # Ray ships no types
    """Trains the trial in its configuration and reports every epoch.

    The configuration has `trial`, `layout` and `recipe` as dicts, `seed`, `rungs`, `data` (the arguments of
    `load_training_set`), `checkpoint` (a path), `recorded_epochs`, `threads`, `accelerator`, `compile` and `resources`.
    A result has the fields of `EpochReport`, `done`, `outcome` (None, or at the end completed, stopped by the recipe's
    patience, diverged, out-of-memory or failed) and `error`.

    An exception in the training becomes a result with outcome `failed`. Only the death of the process or of its device
    reaches Ray, and the searcher then restarts the trial from its checkpoint in a new process.
    """

    def setup(self, config: dict[str, Any]) -> None:
        """Keeps `config` without loading or writing anything, because Ray may set up an actor and discard it."""
        self._config = config
        self._trainer: Any = None
        self._images: Any = None

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Takes the configuration of the next trial; the data stays loaded if it is the same."""
        if new_config["data"] != self._config["data"]:
            self._images = None
        self._config = new_config
        self._trainer = None
        return True

    def step(self) -> dict[str, Any]:
        """Trains one epoch and returns its report."""
        try:
            return self._epoch()
        except DivergedError as error:
            outcome, text = "diverged", str(error)
        except Exception as error:  # whatever a layout, recipe or device raises belongs in the trial's row
            from trainables.devices import is_device_lost, is_out_of_memory

            if is_device_lost(error):
                raise
            outcome, text = "out-of-memory" if is_out_of_memory(error) else "failed", traceback.format_exc()
        return self._ending(outcome, text)  # here, where the exception no longer holds the tensors of its frames

    def _epoch(self) -> dict[str, Any]:
        checkpoint = Path(self._config["checkpoint"])
        if self._trainer is None:
            self._trainer = self._begin(checkpoint)
            if self._trainer.epoch > self._config["recorded_epochs"] or self._trainer.finished:
                # The driver died between this epoch's checkpoint and its report, or between the last report and the
                # trial's end: report the epoch instead of training it again.
                return self._result(self._trainer.last_report)
        report = self._trainer.train_epoch()
        self._trainer.save(checkpoint)
        return self._result(report)

    def _begin(self, checkpoint: Path) -> Any:
        from trainables.data import load_training_set
        from trainables.devices import memory_bytes, pick_device
        from trainables.process_settings import prepare_process, room_for_images
        from trainables.training import Trainer

        device = pick_device(self._config["accelerator"])
        prepare_process(self._config["threads"], device)
        if self._images is None:
            self._images = load_training_set(**self._config["data"])
        room = None
        if device.type == "cuda":
            room = room_for_images(memory_bytes(device), self._config["resources"]["gpu"])
        trainer = Trainer(
            ResNetLayout.from_dict(self._config["layout"]),
            Recipe(**self._config["recipe"]),
            self._images,
            device,
            epochs=self._config["rungs"][-1],
            seed=self._config["seed"],
            rungs=tuple(self._config["rungs"]),
            compile=self._config["compile"],
            room=room,
        )
        if checkpoint.exists():
            trainer.load(checkpoint)
        return trainer

    def _result(self, report: Any) -> dict[str, Any]:
        result = asdict(report)
        done = self._trainer.finished
        ending = "completed" if report.epoch >= self._trainer.epochs else "stopped"
        return result | {"done": done, "outcome": ending if done else None, "error": None}

    def _ending(self, outcome: str, error: str) -> dict[str, Any]:
        # Ray requires the metric in every result; 0.0 at the last finished epoch reaches no new rung.
        epoch = self._trainer.epoch if self._trainer is not None else 0
        self._trainer = None
        from trainables.process_settings import release_memory

        release_memory()  # which others on the same GPU may need before the next trial begins here
        return {"epoch": epoch, "val_accuracy": 0.0, "done": True, "outcome": outcome, "error": error}
