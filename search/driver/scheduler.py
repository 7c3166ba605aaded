"""Ray Tune's view of the rungs: which trials stop."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from search.driver.rungs import AshaRungs


class AshaScheduler(FIFOScheduler):  # type: ignore[misc]  # Ray ships no types
    """Ray Tune's view of `AshaRungs`: higher `val_accuracy` at `epoch` is better."""

    def __init__(self, rungs: AshaRungs, on_death: Callable[[str, str], None] = lambda trial_id, error: None) -> None:
        super().__init__()
        self.rungs, self.on_death = rungs, on_death
        """Told Ray's id and the error of a trial whose process died, before the searcher is told that it ended."""

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """STOP or CONTINUE for the trial that reported `result`."""
        if result["outcome"] not in (None, "completed", "stopped"):
            return str(TrialScheduler.STOP)
        goes_on = self.rungs.goes_on(trial.config["trial"], result["epoch"], result["val_accuracy"])
        return str(TrialScheduler.CONTINUE if goes_on else TrialScheduler.STOP)

    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:
        """Passes on what the trial died of."""
        # Ray keeps the error in a file alone, which on a full disk may be missing.
        path = Path(trial.error_file or "")
        self.on_death(trial.trial_id, path.read_text(errors="replace") if path.is_file() else "its process died")
