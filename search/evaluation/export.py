"""Export of a trial's network to a file that torch opens without this project: from images to logits."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn

from results import read_record
from results.record.files import replace_file
from search.errors import SearchError
from search.evaluation.kept_network import chosen_trial, load_kept_of
from search.runs import existing_run_folder, read_config
from search.runs.folder import read_image_format
from trainables.augmentation.batch import normalise
from trainables.data import load_training_set

FACTS_NAME: Final = "parambudget.json"
"""The file inside the exported one that describes the network."""
EXAMPLE_BATCH: Final = 2  # with one image, torch.export would make the batch size a constant


class Deployed(nn.Module):
    """A classifier that normalises its images itself, from decoded uint8 (N, H, W, C) to logits (N, classes)."""

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)

    def forward(self, images: Tensor) -> Tensor:  # (N, H, W, C) uint8 -> (N, classes) float32
        logits: Tensor = self.network(normalise(images, self.mean, self.std))
        return logits


def write_export(storage: Path, run: str, trial: int | None, output: Path) -> str:
    """Writes the network of `trial`, or of the best one, to `output` by torch.export; returns a sentence that says so.

    The exported module is a `Deployed` and takes any number of images at once. `FACTS_NAME` in the file is a JSON
    object: run, trial, layout, parameters, epoch of the weights, validation accuracy at that epoch, shape of an image,
    names of the classes. The run's record is not changed, and no test set is opened.

    Raises:
        SearchError: `output` does not end in .pt2, there is no such run or trial, or its checkpoint was not kept.
        TrainablesError: the data set or the checkpoint cannot be used.
    """
    if output.suffix != ".pt2":
        raise SearchError(f"export: {output} given, but files of torch.export end in .pt2; call it {output.stem}.pt2")
    folder = existing_run_folder(storage, run)
    config = read_config(folder)
    state = read_record(folder)
    chosen = chosen_trial(folder.name, state, trial, config.trials_per_place > 1)
    data = read_image_format(folder) or load_training_set(**config.data_arguments).format
    kept = load_kept_of(folder, state, chosen, config.keep_checkpoints, data, torch.device("cpu"))
    network = kept.network.to(memory_format=torch.contiguous_format)
    module = Deployed(network, torch.tensor(data.mean), torch.tensor(data.std)).eval().requires_grad_(False)
    accuracies = {report.epoch: report.val_accuracy for report in state.reports[chosen.trial]}
    facts = {
        "run": folder.name,
        "trial": chosen.trial,
        "layout": chosen.layout,
        "layout_id": chosen.layout_id,
        "params": chosen.params,
        "epoch": kept.epoch,
        "val_accuracy": accuracies[kept.epoch],
        "dataset": config.dataset,
        "image_shape": list(data.shape),
        "classes": list(data.class_names),
    }
    example = torch.zeros(EXAMPLE_BATCH, *data.shape, dtype=torch.uint8)
    program = torch.export.export(module, (example,), dynamic_shapes=({0: torch.export.Dim("batch", min=1)},))
    buffer = io.BytesIO()
    torch.export.save(program, buffer, extra_files={FACTS_NAME: json.dumps(facts)})
    replace_file(output, buffer.getvalue())
    return (
        f"{output}: {folder.name} trial {chosen.trial}, {chosen.layout_id}, {chosen.params:,} parameters, with the "
        f"weights of epoch {kept.epoch} (validation {facts['val_accuracy']:.2%}); "
        f"uint8 images (N, {', '.join(map(str, data.shape))}) in, {len(data.class_names)} logits out"
    )
