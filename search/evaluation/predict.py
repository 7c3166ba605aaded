"""Predictions of a trial's network for images without labels, as a CSV file; no test set is opened."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import torch

from results import read_record
from results.record.files import replace_file
from search.errors import SearchError
from search.evaluation.kept_network import KeptNetwork, chosen_trial, load_kept_of
from search.runs import existing_run_folder, read_config
from search.runs.folder import read_image_format
from trainables.augmentation.batch import normalise
from trainables.data import load_training_set
from trainables.data.image_format import ImageFormat
from trainables.data.unlabelled import UnlabelledImages, open_unlabelled
from trainables.devices import autocast, pick_device
from trainables.evaluation import EVAL_BATCH

COLUMNS = ("id", "label", "class", "probability")


def write_predictions(
    storage: Path, run: str, trial: int | None, images: Path, output: Path, header: str | None = None
) -> str:
    """Writes `output` with one row per image of `images`, a folder or a .npy file; returns a sentence that says so.

    The columns are `COLUMNS`, or those of `header`, which has two names: the id and the number of the class. Files that
    are not readable images have no row; the sentence counts and names them. The network is that of `trial`, or of the
    best one. The run's record is not changed.

    Raises:
        SearchError: `header` is not two names, there is no such run or trial, or its checkpoint was not kept.
        TrainablesError: the images, the data set or the checkpoint cannot be used.
    """
    columns = COLUMNS if header is None else _two_names(header)
    folder = existing_run_folder(storage, run)
    config = read_config(folder)
    state = read_record(folder)
    chosen = chosen_trial(folder.name, state, trial, config.trials_per_place > 1)
    data = read_image_format(folder) or load_training_set(**config.data_arguments).format
    given = open_unlabelled(images, data.shape, data.grey_scale)
    device = pick_device()
    kept = load_kept_of(folder, state, chosen, config.keep_checkpoints, data, device)
    labels, probabilities = predict(kept, given, data, device)
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(columns)
    for name, label, probability in zip(given.readable_ids(), labels, probabilities, strict=True):
        table.writerow((name, label, data.class_names[label], f"{probability:.6f}")[: len(columns)])
    replace_file(output, text.getvalue().encode())
    return (
        f"{output}: {len(labels):,} predictions of {folder.name} trial {chosen.trial}, {chosen.layout_id}, "
        f"with the weights of epoch {kept.epoch}" + (f"; {given.summary()}" if given.left_out else "")
    )


def _two_names(header: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in header.split(","))
    if len(names) != 2 or names[0] == names[1] or not all(name and name.isprintable() for name in names):
        raise SearchError(f"--header: {header!r} given; use two different names and a comma, such as ID,Labels")
    return names


@torch.inference_mode()
def predict(
    kept: KeptNetwork, given: UnlabelledImages, data: ImageFormat, device: torch.device
) -> tuple[list[int], list[float]]:
    """The class that the network gives the highest probability for each image, and that probability in [0, 1].

    Raises:
        DatasetError: no file is a readable image.
    """
    kept.network.eval()
    mean, std = torch.tensor(data.mean, device=device), torch.tensor(data.std, device=device)
    labels: list[int] = []
    probabilities: list[float] = []
    for batch in given.batches(EVAL_BATCH):
        with autocast(kept.precision, device):
            logits = kept.network(normalise(torch.from_numpy(batch).to(device), mean, std))
        best: Any = logits.float().softmax(1).max(1)
        labels += best.indices.tolist()
        probabilities += best.values.tolist()
    return labels, probabilities
