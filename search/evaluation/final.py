"""The final evaluation: a trial is measured on the test set once, and the run keeps what was found."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
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

    Raises:
        SearchError: there is no such run or trial, its checkpoint was not kept, its images have changed, or it was
            measured without `flip`.
        TrainablesError: the images or the checkpoint cannot be used.
    """
    folder = existing_run_folder(storage, run, changed=True)
    config = read_config(folder)
    with Record(folder) as record:
        chosen = chosen_trial(folder.name, record.state, number, config.trials_per_place > 1)
        if chosen.test_accuracy is None:
            checkpoint = kept_checkpoint(folder, record.state, chosen, config.keep_checkpoints)
            measured = measure(checkpoint, chosen.trial, config.data_arguments, flip, read_test_sha256(folder))
            record.append("evaluated", trial=chosen.trial, flip=flip, **asdict(measured))
            TableWriter(folder).update(record, force=True)
        elif flip and not chosen.test_flip:
            raise SearchError(
                f"trial {chosen.trial}: --flip given, but the trial was already measured without it, and each trial is "
                "measured once; leave --flip out"
            )
        return test_facts(folder.name, record.state, chosen, read_val_images(folder))
