"""The scheduler that Ray Tune calls, which decides by the rungs which trials stop."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from search.runs.rungs import AshaRungs


class AshaScheduler(FIFOScheduler):  # type: ignore[misc]  # Ray ships no types
    """`AshaRungs` as a scheduler of Ray Tune: higher `val_accuracy` at the same `epoch` is better."""

    def __init__(self, rungs: AshaRungs, on_death: Callable[[str, str], None] = lambda trial_id, error: None) -> None:
        super().__init__()
        self.rungs, self.on_death = rungs, on_death
        """Called with Ray's id and the error of a trial whose process died, before the searcher hears that it ended."""

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """STOP or CONTINUE for the trial that reported `result`."""
        if result["outcome"] not in (None, "completed", "stopped"):
            return str(TrialScheduler.STOP)
        goes_on = self.rungs.goes_on(trial.config["trial"], result["epoch"], result["val_accuracy"])
        return str(TrialScheduler.CONTINUE if goes_on else TrialScheduler.STOP)

    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:
        """Passes on the error that the trial died of."""
        # Ray keeps the error only in a file, which may be missing if the disk is full.
        path = Path(trial.error_file or "")
        self.on_death(trial.trial_id, path.read_text(errors="replace") if path.is_file() else "its process died")
