"""The final evaluation: a trial is measured on the test set once, and the run keeps what was found."""

from __future__ import annotations

from dataclasses import asdict
from math import sqrt
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from results import Record, TableWriter
from search.errors import SearchError
from search.evaluation.kept_network import chosen_trial, kept_checkpoint
from search.evaluation.measure import measure
from search.evaluation.report import test_facts
from search.runs import existing_run_folder, read_config
from search.runs.folder import read_test_sha256, read_val_images


def evaluated_facts(storage: Path, run: str, number: int | None, flip: bool) -> dict[str, Any]:
    """The `test_facts` of the trial called `number`, or of the best one, which is measured unless it already was.

    Of a refit without `number`, each seed that has ended is measured; the facts are those of the first, with the key
    `seeds` for the facts of all, and `test_mean` and `test_standard_error` over them.

    Raises:
        SearchError: there is no such run or trial, its checkpoint was not kept, its images have changed, or it was
            measured without `flip`.
        TrainablesError: the images or the checkpoint cannot be used.
    """
    folder = existing_run_folder(storage, run, changed=True)
    config = read_config(folder)
    with Record(folder) as record:
        state = record.state
        chosen = [chosen_trial(folder.name, state, number, config.trials_per_place > 1)]
        if config.refit_of and number is None:
            chosen = [trial for trial in state.trials.values() if trial.status == "completed"] or chosen
        for trial in chosen:
            if trial.test_accuracy is None:
                checkpoint = kept_checkpoint(folder, state, trial, config.keep_checkpoints)
                measured = measure(checkpoint, trial.trial, config.data_arguments, flip, read_test_sha256(folder))
                record.append("evaluated", trial=trial.trial, flip=flip, **asdict(measured))
                TableWriter(folder).update(record, force=True)
            elif flip and not trial.test_flip:
                raise SearchError(
                    f"trial {trial.trial}: --flip given, but the trial was already measured without it, and each trial "
                    "is measured once; leave --flip out"
                )
        val_images = read_val_images(folder)
        first, *others = [test_facts(folder.name, state, trial, val_images) for trial in chosen]
    if not others:
        return first
    accuracies = [facts["test_accuracy"] for facts in (first, *others)]
    spread = {"test_mean": fmean(accuracies), "test_standard_error": stdev(accuracies) / sqrt(len(accuracies))}
    return first | {"seeds": [first, *others]} | spread
