"""The searcher that Ray Tune calls: it proposes trials, writes every event to the record, then reports to the study.

Ray passes a result to the scheduler first, then to the searcher, then to callbacks. The record is written here, so that
an event is durable before anything acts on it. In the study, a trial that ASHA stops is PRUNED, one at the full budget
is COMPLETE, and all others are FAIL. A trial whose process died, or that ran out of memory for the first time, has not
ended: it is suggested again under its own number.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from ray.tune.search import Searcher

from model_zoo import ResNetLayout, count_flops, count_params
from results import Record
from search.driver.disk_watch import DiskWatch
from search.driver.retries import RetryRules
from search.driver.stopping import StopRequest
from search.driver.watchdog import dead_processes
from search.planning.preparation import Prepared
from search.runs.checkpoint_files import checkpoint_path
from search.runs.confirmation import NO_CONFIRMATION, Confirmation
from search.runs.ranking import Leaders
from search.runs.reuse import ReusableResults, take_checkpoint
from search.runs.rungs import AshaRungs
from search.sampling import JointSpace
from search.sampling.feasible_sampler import SpaceExhausted
from search.sampling.study import RunStudy
from trainables.recipe import Recipe

REPORT_FIELDS = (
    "epoch",
    "rung",
    "val_accuracy",
    "val_loss",
    "train_accuracy",
    "train_loss",
    "learning_rate",
    "train_time_s",
    "eval_time_s",
    "answers",
)


class RecordSearcher(Searcher):  # type: ignore[misc]  # Ray ships no types
    """Proposes the trials of one run to Ray Tune until `config.trials` are in the record.

    Trials that an earlier session left open come first, under their own numbers. When all have ended, those are trained
    on that `confirmation` chooses.
    """

    def __init__(
        self,
        prepared: Prepared,
        record: Record,
        session: int,
        stop: StopRequest,
        rungs: AshaRungs,
        reusable: ReusableResults,
        retry_rules: RetryRules,
        confirmation: Confirmation = NO_CONFIRMATION,
        disk: DiskWatch | None = None,
    ) -> None:
        """`disk` tells whether there is room for another trial; without it there always is."""
        super().__init__(metric="val_accuracy", mode="max")
        self.config = config = prepared.config
        self.folder, self.record, self.session, self.stop = prepared.folder, record, session, stop
        self.rungs, self.reusable, self.disk = rungs, reusable, disk
        self.running: set[int] = set()
        """Trials that this session has launched and that have not ended."""
        self.exhausted = False
        """Whether every feasible candidate has been tried."""
        self._retry_rules = retry_rules
        candidates = JointSpace(config.space, config.recipe)
        self.study = RunStudy(
            candidates,
            config.sampler,
            config.seed,
            record.state,
            config.replicates,
            prepared.first,
            confirmation.images,
        )
        self._confirmation = confirmation
        self._leaders = Leaders(record.state, config.keep_checkpoints, confirmation)
        self._open = deque(record.state.open_trials)
        self._numbers: dict[str, int] = {}
        self._deaths: dict[str, str] = {}
        self._needs_room: set[int] = set()
        """Trials that wait for more resources than usual; nothing else is launched meanwhile."""

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The configuration of the next trial, FINISHED, or None if no trial may be launched yet."""
        while not self.stop.stop_all():
            if self._needs_room:
                return None  # other trials would take every core that becomes free
            if (
                self._is_left
                and self.disk is not None
                and not self.disk.admits(next(iter(self._open), None), self.running)
            ):
                if not self.disk.quota_spent:
                    return None
                self.stop.stop("disk-quota")
                continue
            if self._open:
                number = self._open.popleft()
            elif self.exhausted or len(self.record.state.trials) >= self.config.trials:
                # Running trials may have to be retried, so the search is over only when all have ended.
                if not all(trial.ended for trial in self.record.state.trials.values()):
                    return None
                self._confirm()
                if not self._open:
                    return str(Searcher.FINISHED)
                continue
            else:
                try:
                    number = self._ask()
                except SpaceExhausted:
                    self.exhausted = True
                    continue
            if self._replayed(number):
                continue
            self._numbers[trial_id] = number
            self.running.add(number)
            if self._retry_rules.needs_room(self.record.state.trials[number]):
                self._needs_room.add(number)
            return self._trial_config(number)
        return str(Searcher.FINISHED)  # while nothing runs, Ray keeps asking without checking its stopper

    @property
    def _is_left(self) -> bool:
        """Whether a trial is still to be launched."""
        more = not self.exhausted and len(self.record.state.trials) < self.config.trials
        return bool(self._open) or more

    def _ask(self) -> int:
        """Asks the study for a new trial, records it, and returns its number."""
        number, (layout, recipe), seed, proposal = self.study.ask()
        self.record.append(
            "suggested",
            trial=number,
            layout=layout.to_dict(),
            layout_id=layout.layout_id,
            params=count_params(layout),
            flops=count_flops(layout, self.config.space.image_size),
            depth=layout.depth,
            recipe=recipe.model_dump() | dict.fromkeys(recipe.unread) | {"epochs": self.config.max_epochs},
            seed=seed,
            proposal=proposal,
        )
        return number

    def _confirm(self) -> None:
        """Records which trials are trained to the end now that all have ended, and launches those next, best first."""
        state, epochs = self.record.state, self.config.max_epochs
        numbers = [trial.trial for trial in self._confirmation.next_ones(state)]
        if numbers:
            self.record.append("confirmed", trials=numbers, epochs=epochs)
            self._leaders = Leaders(state, self.config.keep_checkpoints, self._confirmation)
            self._open.extend(numbers)
        for number in numbers:
            self.rungs.confirm(number, epochs)

    def _replayed(self, number: int) -> bool:
        """Records results of earlier runs for the trial as if it were trained now; returns whether that ends it."""
        trial, path = self.record.state.trials[number], checkpoint_path(self.folder, number)
        if path.exists():
            return False  # this run has already trained it, and continues from its checkpoint
        layout, recipe = ResNetLayout.from_dict(trial.layout), Recipe(**trial.settings)
        stored = self.reusable.find(layout, recipe, trial.seed)
        if stored is None:
            return False
        for report in stored.reports:
            self._report(number, {name: getattr(report, name) for name in REPORT_FIELDS}, stored.origin)
            goes_on = self.rungs.goes_on(number, report.epoch, report.val_accuracy)
            by_patience = report.rung is not None and report.epoch not in self.config.rungs
            if not goes_on or by_patience:
                if report.epoch == stored.epochs:
                    take_checkpoint(stored, path)
                self._end(number, "completed" if report.epoch >= self.config.max_epochs else "stopped", None)
                return True
        if stored.diverged is not None:
            self._end(number, "diverged", stored.diverged)
            return True
        take_checkpoint(stored, path)
        return False

    def on_trial_start(self, trial_id: str) -> None:
        """Records that the trial's actor is running."""
        number = self._numbers[trial_id]
        self._needs_room.discard(number)
        self.record.append("started", trial=number, session=self.session)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Records the report of an epoch."""
        self._report(self._numbers[trial_id], result)

    def on_trial_death(self, trial_id: str, error: str) -> None:
        """Keeps the error that the trial's process died of; right after, Ray calls `on_trial_complete`."""
        self._deaths[trial_id] = error

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Records the last report and the end of a trial; without a result or an error it stays open for a resume."""
        number = self._numbers[trial_id]
        self.running.discard(number)
        if error:
            died_of = self._deaths.pop(trial_id, "")
            self._needs_room.discard(number)
            if self.stop.reason is not None:
                return  # Ctrl-C in a terminal kills the workers too, which is not a loss of the trial
            if dead_processes():  # nor is the death of Ray itself, which also ends this session
                self._open.appendleft(number)
                return
            self._end(number, "out-of-memory" if "running low on memory" in died_of else "lost", died_of)
        elif result is not None:
            self._report(number, result)
            self._end(number, result.get("outcome") or "stopped", result.get("error"))

    def _report(self, number: int, result: dict[str, Any], reused: str | None = None) -> None:
        if "val_loss" not in result:
            return
        fields = {name: result.get(name) for name in REPORT_FIELDS}
        new = self.record.append("report", trial=number, session=self.session, reused=reused, **fields)
        if new and result["rung"] is not None:
            self.study.report(number, result["epoch"], result["val_accuracy"])
        if self.config.epoch_budget is not None and self.record.state.epochs >= self.config.epoch_budget:
            self.stop.stop("epoch-budget")

    def _end(self, number: int, status: str, error: str | None) -> None:
        if self._retry_rules.tries_again(self.record.state.trials[number], status):
            self.record.append("retried", trial=number, reason=status, error=error, session=self.session)
            self._open.append(number)
        elif self.record.append("ended", trial=number, status=status, error=error):
            trial = self.record.state.trials[number]
            self.study.tell(number, status, trial.val_accuracy)
            self._retry_rules.stop_if_all_fail_alike(status, error)
            for no_leader in self._leaders.take(trial):
                checkpoint_path(self.folder, no_leader.trial).unlink(missing_ok=True)

    def _trial_config(self, number: int) -> dict[str, Any]:
        trial = self.record.state.trials[number]
        return {
            "trial": number,
            "layout": ResNetLayout.from_dict(trial.layout).to_dict(),
            "recipe": trial.settings,
            "seed": trial.seed,
            "rungs": list(self.config.rungs),
            "data": self.config.data_arguments_of(trial.seed),
            "checkpoint": str(checkpoint_path(self.folder, number)),
            "recorded_epochs": trial.epochs,
            "threads": self.config.cpus_per_trial,
            "accelerator": self.config.resources.gpus > 0,
            "compile": self.config.compile,
            "resources": self._retry_rules.resources(trial),
        }

    def save(self, checkpoint_path: str) -> None:
        """Does nothing: the state is in the record."""

    def restore(self, checkpoint_path: str) -> None:
        """Does nothing: a resume creates a new searcher from the record."""

    def __getstate__(self) -> dict[str, Any]:
        # Tune pickles the searcher into its experiment folder, which is never read, but a lock cannot be pickled.
        return {}
