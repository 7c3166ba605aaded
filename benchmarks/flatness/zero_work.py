"""A trial that trains nothing, so that real Ray actors show the cost of a search without its training."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from ray import tune


class ZeroWork(tune.Trainable):  # type: ignore[misc]  # Ray ships no types
    """Takes the configuration of `TrialTrainable` and reports computed results immediately.

    Its checkpoint is an empty file, so that the driver has the same number of files to remove.
    """

    def setup(self, config: dict[str, Any]) -> None:
        """Keeps `config`."""
        self._config, self._epoch = config, int(config["recorded_epochs"])

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Takes the configuration of the next trial."""
        self.setup(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """The report of one epoch."""
        if self._epoch == self._config["recorded_epochs"]:
            checkpoint = Path(self._config["checkpoint"])
            checkpoint.parent.mkdir(exist_ok=True)
            checkpoint.touch()
        self._epoch += 1
        rungs = self._config["rungs"]
        accuracy = accuracy_of(self._config["trial"], self._epoch)
        done = self._epoch >= rungs[-1]
        return {
            "epoch": self._epoch,
            "rung": rungs.index(self._epoch) + 1 if self._epoch in rungs else None,
            "val_accuracy": accuracy,
            "val_loss": 1 - accuracy,
            "train_accuracy": accuracy,
            "train_loss": 1 - accuracy,
            "learning_rate": 0.1,
            "train_time_s": 0.0,
            "eval_time_s": 0.0,
            "done": done,
            "outcome": "completed" if done else None,
            "error": None,
        }


def accuracy_of(trial: int, epoch: int) -> float:
    """A number in (0, 1) that depends on the trial's number and rises with the epoch."""
    scattered = math.modf(trial * (math.sqrt(5) - 1) / 2)[0]  # the golden ratio spreads the trials evenly
    return 0.9 * scattered + 0.1 * epoch / (epoch + 1)
