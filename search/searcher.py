"""Between Ray Tune and the record: suggests layouts, writes every event down, then tells the study.

Inside Ray the scheduler hears of a result first, then the searcher, then callbacks; the record is written here, so
that an event is durable before anything acts on it. Endings: a trial that ASHA stops is PRUNED, one that diverges or
fails is FAIL, one at the full budget is COMPLETE.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ray.tune.search import Searcher

from model_zoo import ResNetLayout, count_flops, count_params
from results import Record
from search.config import RunConfig
from search.history import History
from search.points import Point, SearchPoints
from search.sampler import SpaceExhausted
from search.standing import checkpoint_path, drop_checkpoints

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
)


def settle(record: Record, config: RunConfig, went_on: dict[int, bool]) -> None:
    """Ends the open trials whose last report had decided it when their driver died before it could write the ending."""
    for number, trial in sorted(record.state.trials.items()):
        reports = record.state.reports.get(number)
        if trial.ended or not reports:
            continue
        if reports[-1].epoch >= config.max_epochs:
            record.append("ended", trial=number, status="completed", error=None)
        elif reports[-1].rung is not None and not went_on[number]:
            record.append("ended", trial=number, status="stopped", error=None)


class RecordSearcher(Searcher):  # type: ignore[misc]  # Ray ships no types
    """Proposes the trials of one run to Ray Tune until `config.trials` are in the record.

    Trials that an earlier driver left open come first, under their own numbers.
    """

    def __init__(
        self, config: RunConfig, folder: Path, record: Record, session: int, first: Sequence[Point] = ()
    ) -> None:
        super().__init__(metric="val_accuracy", mode="max")
        self.config, self.folder, self.record, self.session = config, folder, record, session
        self.exhausted = False
        """Whether every feasible point has been tried."""
        self._image_size = config.space.image_size
        points = SearchPoints(config.space, config.recipe)
        self.history = History(points, config.sampler, config.seed, record.state, config.replicates, first)
        self._open = deque(sorted(n for n, trial in record.state.trials.items() if not trial.ended))
        self._numbers: dict[str, int] = {}

    def suggest(self, trial_id: str) -> dict[str, Any] | str:
        """The configuration of the next trial, or FINISHED."""
        if self._open:
            number = self._open.popleft()
        elif len(self.record.state.trials) >= self.config.trials:
            return str(Searcher.FINISHED)
        else:
            try:
                number, layout, recipe, proposal = self.history.ask()
            except SpaceExhausted:
                self.exhausted = True
                return str(Searcher.FINISHED)
            self.record.append(
                "suggested",
                trial=number,
                layout=layout.to_dict(),
                layout_id=layout.layout_id,
                params=count_params(layout),
                flops=count_flops(layout, self._image_size),
                recipe=recipe.model_dump(exclude={"seed"}) | dict.fromkeys(recipe.unread),
                seed=recipe.seed,
                proposal=proposal,
            )
        self._numbers[trial_id] = number
        return self._trial_config(number)

    def number(self, trial_id: str) -> int:
        """The trial number behind Ray's `trial_id`."""
        return self._numbers[trial_id]

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Records an epoch's report."""
        self._report(self._numbers[trial_id], result)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Records the last report and the ending; without either the trial stays open for the next resume."""
        number = self._numbers[trial_id]
        if error:
            where = f"ray/session-{self.session:03d}/{trial_id}/error.txt"
            self._end(number, "failed", f"the trial's process died more often than it may be restarted; see {where}")
        elif result is not None:
            self._report(number, result)
            self._end(number, result.get("outcome") or "stopped", result.get("error"))

    def _report(self, number: int, result: dict[str, Any]) -> None:
        if "val_loss" not in result:
            return
        fields = {name: result[name] for name in REPORT_FIELDS}
        new = self.record.append("report", trial=number, session=self.session, **fields)
        if new and result["rung"] is not None:
            self.history.report(number, result["epoch"], result["val_accuracy"])

    def _end(self, number: int, status: str, error: str | None) -> None:
        if self.record.append("ended", trial=number, status=status, error=error):
            self.history.tell(number, status, self.record.state.trials[number].val_accuracy)
            drop_checkpoints(self.folder, self.record.state, self.config.keep_checkpoints)

    def _trial_config(self, number: int) -> dict[str, Any]:
        trial = self.record.state.trials[number]
        return {
            "trial": number,
            "layout": ResNetLayout.from_dict(trial.layout).to_dict(),
            "recipe": trial.settings | {"seed": trial.seed},
            "rungs": list(self.config.rungs),
            "data": self.config.data_arguments,
            "checkpoint": str(checkpoint_path(self.folder, number)),
            "recorded_epochs": trial.epochs,
            "threads": self.config.cpus_per_trial,
            "accelerator": self.config.gpus_per_trial > 0,
        }

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the record is the state."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: a resume starts a new searcher over the record."""

    def __getstate__(self) -> dict[str, Any]:
        # Tune pickles the searcher into its experiment folder, which is never read; the record's lock cannot go there.
        return {}
