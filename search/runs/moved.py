"""The images of a run in another place than before."""

from __future__ import annotations

from pathlib import Path

from search.config.changes import changed
from search.errors import ResumeError
from search.runs.folder import change_config, read_config, read_data
from search.runs.reuse import same_images
from trainables.data import load_training_set


def take_moved_images(folder: Path, dataset: str) -> None:
    """Makes the image folder `dataset` that of the run in `folder`, whose class folders have been moved there.

    Raises:
        ResumeError: the run's data set is not an image folder, or `dataset` has other images.
        RecordLockedError: a live driver holds the run.
        DatasetError: there is no such folder, or it cannot be used.
    """
    before = read_config(folder)
    change = changed(before, {"dataset": dataset})
    if not change.differences:
        return
    data = load_training_set(**change.config.data_arguments).identity
    if not same_images(change.config, data, before, read_data(folder)):
        raise ResumeError(f"dataset: {dataset} has other images than {folder.name} was started with; name their folder")
    change_config(folder, change)
