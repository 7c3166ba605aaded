"""Export of a trial's network to a file that opens without this project: from decoded images to logits."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import safetensors.torch
import torch

from model_zoo.network import ResNet
from results import read_record
from results.record.files import replace_file
from search.errors import SearchError
from search.evaluation.deployed import Deployed
from search.evaluation.export_card import model_card
from search.evaluation.kept_network import chosen_trial, load_kept_of
from search.evaluation.onnx_format import OPSET, PACKAGES, check_onnx, onnx_bytes, required
from search.runs import existing_run_folder, read_config
from search.runs.folder import read_image_format
from trainables.data import TrainingSet, load_training_set
from trainables.data.image_format import ImageFormat

Size = Literal["any", "trained"]
"""Which images an exported network takes: of any size, which it prepares itself, or of the size it was trained on."""
FACTS_NAME: Final = "parambudget.json"
"""The name under which a file holds the description of its network."""
EXAMPLE_BATCH: Final = 2  # with one image, torch.export would make the batch size a constant


@dataclass(frozen=True, eq=False)
class Exported:
    """A trial's network and what its file says about it."""

    network: ResNet
    module: Deployed
    size: Size
    facts: dict[str, Any]
    images: ImageFormat
    data_arguments: dict[str, Any]

    def training_set(self) -> TrainingSet:
        """The images that it was trained and validated on.

        Raises:
            SearchError: they have changed since.
            DatasetError: they cannot be loaded.
        """
        data = load_training_set(**self.data_arguments)
        if data.sha256 != self.images.sha256:
            raise SearchError(f"dataset: {data.name} has changed since the run was started; restore its images")
        return data

    def program(self) -> torch.export.ExportedProgram:
        """The module as torch.export traces it, for any number of images."""
        height, width, channels = self.images.shape
        dynamic = {0: torch.export.Dim("batch", min=1)}
        if self.size == "any":
            dynamic |= {1: torch.export.Dim("height", min=1), 2: torch.export.Dim("width", min=1)}
            height, width = 2 * height + 1, 3 * width + 1  # sizes that nothing in the network has
        example = torch.zeros(EXAMPLE_BATCH, height, width, channels, dtype=torch.uint8)
        return torch.export.export(self.module, (example,), dynamic_shapes=(dynamic,))


def write_export(
    storage: Path,
    run: str,
    trial: int | None,
    output: Path,
    size: Size = "trained",
    card: Path | None = None,
    license_name: str | None = None,
) -> str:
    """Writes the network of `trial`, or of the best one, in the format of the suffix; returns a sentence on it.

    `FORMATS` are the formats. .pt2 and .onnx hold a `Deployed` that takes any number of images at once. Each file has
    a JSON object called `FACTS_NAME`: run, trial, layout, parameters, epoch of the weights, validation accuracy at that
    epoch, size and shape of images, their mean, standard deviation and scale of grey, names of the classes. `card` is a
    file for a model card. The run's record is not changed, and no test set is opened.

    Raises:
        SearchError: the suffix is another, there is no such run or trial, or its checkpoint was not kept; an ONNX model
            answers differently from torch.
        TrainablesError: the data set or the checkpoint cannot be used.
    """
    write = _writer(output)
    exported = load_exported(storage, run, trial, size)
    content, how = write(exported)
    files, facts = {output: content}, exported.facts
    if card is not None:
        page = model_card(storage, run, facts, exported.training_set(), output.name, license_name)
        files[card] = page.encode()
    for path, payload in files.items():
        replace_file(path, payload)
    validated = "" if facts["val_accuracy"] is None else f" (validation {facts['val_accuracy']:.2%})"
    return (
        f"{output}: {facts['run']} trial {facts['trial']}, {facts['layout_id']}, {facts['params']:,} parameters, with "
        f"the weights of epoch {facts['epoch']}{validated}; {how}"
    )


def check_export(storage: Path, run: str, trial: int | None, output: Path, size: Size) -> str:
    """Compares the ONNX file `output` with the network of `trial`, or of the best one; returns a sentence on it.

    Raises:
        SearchError: the file is missing, no ONNX model, or answers differently from torch.
        TrainablesError: the data set or the checkpoint cannot be used.
    """
    if output.suffix != ".onnx" or not output.is_file():
        raise SearchError(f"onnx-check: {output} given; name an .onnx file that exists")
    exported = load_exported(storage, run, trial, size)
    checked = check_onnx(output.read_bytes(), exported.module, exported.training_set(), resized=size == "any")
    return f"{output}: {checked}"


def load_exported(storage: Path, run: str, trial: int | None, size: Size) -> Exported:
    """The network of `trial` of a run, or of its best one, ready to be written.

    Raises:
        SearchError: there is no such run or trial, or its checkpoint was not kept.
        TrainablesError: the data set or the checkpoint cannot be used.
    """
    folder = existing_run_folder(storage, run)
    config = read_config(folder)
    state = read_record(folder)
    chosen = chosen_trial(folder.name, state, trial, config.trials_per_place > 1)
    arguments = config.data_arguments_of(chosen.seed)
    images = read_image_format(folder) or load_training_set(**arguments).format
    kept = load_kept_of(folder, state, chosen, config.keep_checkpoints, images, torch.device("cpu"))
    network = kept.network.to(memory_format=torch.contiguous_format).eval().requires_grad_(False)
    height, width, _ = images.shape
    shape = (height, width) if size == "any" else None
    accuracies = {report.epoch: report.val_accuracy for report in state.reports[chosen.trial]}
    accuracy = accuracies[kept.epoch]  # NaN where all images are trained on
    facts = {
        "run": folder.name,
        "trial": chosen.trial,
        "layout": chosen.layout,
        "layout_id": chosen.layout_id,
        "params": chosen.params,
        "epoch": kept.epoch,
        "val_accuracy": None if math.isnan(accuracy) else accuracy,
        "dataset": config.dataset,
        "size": size,
        "image_shape": list(images.shape),
        "mean": list(images.mean),
        "std": list(images.std),
        "grey_scale": images.grey_scale,
        "classes": list(images.class_names),
    }
    module = Deployed(network, torch.tensor(images.mean), torch.tensor(images.std), shape)
    return Exported(network, module.eval(), size, facts, images, arguments)


def _pt2(exported: Exported) -> tuple[bytes, str]:
    buffer = io.BytesIO()
    torch.export.save(exported.program(), buffer, extra_files={FACTS_NAME: json.dumps(exported.facts)})
    return buffer.getvalue(), _signature(exported)


def _onnx(exported: Exported) -> tuple[bytes, str]:
    for package in PACKAGES:  # before the seconds that tracing takes
        required(package)
    data = exported.training_set()
    content = onnx_bytes(exported.program(), FACTS_NAME, exported.facts)
    checked = check_onnx(content, exported.module, data, resized=exported.size == "any")
    return content, f"{_signature(exported)}; opset {OPSET}; {checked}"


def _safetensors(exported: Exported) -> tuple[bytes, str]:
    weights = {name: tensor.contiguous() for name, tensor in exported.network.state_dict().items()}
    content = safetensors.torch.save(weights, {FACTS_NAME: json.dumps(exported.facts)})
    return content, f"{len(weights)} tensors, with the layout and the preparation in the metadata"


def _signature(exported: Exported) -> str:
    shape = exported.images.shape
    taken = f"N, H, W, {shape[2]}) of any size" if exported.size == "any" else f"N, {', '.join(map(str, shape))})"
    return f"uint8 images ({taken} in, {len(exported.images.class_names)} logits out"


FORMATS: Final[dict[str, Callable[[Exported], tuple[bytes, str]]]] = {
    ".pt2": _pt2,
    ".onnx": _onnx,
    ".safetensors": _safetensors,
}
"""What makes a file's content and a few words on it, by its suffix."""


def _writer(output: Path) -> Callable[[Exported], tuple[bytes, str]]:
    if output.suffix not in FORMATS:
        *others, last = FORMATS
        known = f"{', '.join(others)} or {last}"
        raise SearchError(f"export: {output} given; the suffix is the format, so use {known}: {output.stem}.pt2")
    return FORMATS[output.suffix]
