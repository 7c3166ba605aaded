"""What a trial's failure leads to: a retry, with which resources, or the end of the whole session."""

from __future__ import annotations

from collections.abc import Mapping

from results import TrialState
from search.config.views import Budgets, Resources
from search.driver.stopping import StopRequest


class RetryRules:
    """The rules of one session; `roomier` are the resources of a retry after memory ran out, None for no retry."""

    def __init__(
        self, budgets: Budgets, resources: Resources, stop: StopRequest, roomier: Mapping[str, float] | None
    ) -> None:
        self.budgets, self.usual, self.stop, self.roomier = budgets, resources.per_trial, stop, roomier
        self._ways: list[str] = []
        """How the first trials ended, until one did not fail."""
        self._all_the_same = budgets.fail_fast > 0

    def tries_again(self, trial: TrialState, status: str) -> bool:
        """Whether `trial`, which ended with `status`, is retried: out-of-memory once, lost `max_retries` times."""
        if trial.ended:
            return False
        if status == "out-of-memory":
            return self.roomier is not None and trial.retried.get(status, 0) < 1
        return status == "lost" and trial.retried.get(status, 0) < self.budgets.max_retries

    def needs_room(self, trial: TrialState) -> bool:
        """Whether the next try of `trial` takes more resources than usual."""
        return self.roomier is not None and trial.retried.get("out-of-memory", 0) > 0

    def resources(self, trial: TrialState) -> dict[str, float]:
        """CPU cores and GPUs of the next try of `trial`."""
        return dict(self.roomier or {}) if self.needs_room(trial) else dict(self.usual)

    def stop_if_all_fail_alike(self, status: str, error: str | None) -> None:
        """Stops a session whose first trials all failed the same way, as after a mistake in the configuration."""
        if not self._all_the_same:
            return
        last_line = "".join((error or "").strip().splitlines()[-1:])
        way = f"{status}: {last_line.partition(':')[0]}" if status == "failed" else status  # by the exception's type
        self._ways.append(way)
        self._all_the_same = status in ("failed", "lost", "out-of-memory") and way == self._ways[0]
        if self._all_the_same and len(self._ways) >= self.budgets.fail_fast:
            count = len(self._ways)
            self.stop.stop("failed", f"the first {count} trials all ended the same way, {status}: {last_line}")
