"""The model card of an exported network, in Markdown."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from math import sqrt
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, Final

from model_zoo import ResNetLayout
from model_zoo.complexity import count_norms
from results import read_record
from results.ranking.intervals import interval_text
from results.trial_page.facts import TrialFacts, trial_facts
from results.trial_page.text import CURVE_WIDTH, layout_lines, sparkline
from results.trial_page.training_again import recipe_toml
from results.wording import counted
from search.runs import existing_run_folder, read_config
from trainables.data import TrainingSet

UNKNOWN_LICENSE: Final = "not stated: name it before you publish this file"

_LOADING: Final = {
    ".pt2": """\
import torch
network = torch.export.load("{file}").module()
logits = network(torch.zeros({shape}, dtype=torch.uint8))""",
    ".onnx": """\
import numpy, onnxruntime
session = onnxruntime.InferenceSession("{file}")
(logits,) = session.run(None, {{"images": numpy.zeros({shape}, numpy.uint8)}})""",
    ".safetensors": """\
import model_zoo, safetensors.torch
network = model_zoo.build(model_zoo.ResNetLayout.from_id("{layout_id}")).eval()
network.load_state_dict(safetensors.torch.load_file("{file}"))""",
}
"""Three lines that load a file, by its suffix."""


def model_card(
    storage: Path, run: str, facts: Mapping[str, Any], data: TrainingSet, file: str, license_name: str | None
) -> str:
    """The card of the network that `facts` describe, of a run that was trained on `data`, in the file called `file`."""
    folder = existing_run_folder(storage, run)
    page = trial_facts(storage, run, facts["trial"])
    shape = f"(1, {', '.join(map(str, facts['image_shape']))})"
    loading = _LOADING[Path(file).suffix].format(file=file, shape=shape, layout_id=facts["layout_id"])
    curve = [row["val_accuracy"] for row in page.epochs]
    finite = [value for value in curve if math.isfinite(value)]
    drawn = "No validation accuracy was measured: all images are trained on."
    if finite:
        extent = f"of {counted(len(curve), 'epoch')}, {min(finite):.2%} to {max(finite):.2%}"
        drawn = f"Validation accuracy {extent}:\n\n```\n{sparkline(curve, CURVE_WIDTH)}\n```"
    sections = [
        f"# {facts['layout_id']}, {facts['params']:,} parameters",
        _what_it_is(facts),
        _table("Facts", _rows(facts, data, page, license_name)),
        f"## Accuracy\n\n{_accuracies(folder, facts, data, page)}",
        "\n".join(["## Network", "", "```", *layout_lines(page), "```"]),
        f"## Recipe\n\n```toml\n{recipe_toml(page.trial)}```",
        f"## Curve\n\n{drawn}",
        _table("Environment", _environment(page)),
        f"## How to load it\n\n```python\n{loading}\n```",
    ]
    return "\n\n".join(sections) + "\n"


def _what_it_is(facts: Mapping[str, Any]) -> str:
    height, width, channels = facts["image_shape"]
    kind = "grey" if channels == 1 else "colour"
    sizes = f"trained on {kind} images of {height}x{width} pixels"
    if facts["size"] == "any":
        sizes += ", to which it crops and resizes images of any size itself"
    return (
        f"A residual network that classifies images into {len(facts['classes'])} classes, {sizes}. parambudget found "
        f"and trained it: trial {facts['trial']} of the run {facts['run']}, with the weights of epoch {facts['epoch']}."
    )


def _rows(
    facts: Mapping[str, Any], data: TrainingSet, page: TrialFacts, license_name: str | None
) -> list[tuple[str, str]]:
    norms, channels = count_norms(ResNetLayout.from_dict(facts["layout"]))
    counting = f"all weights and biases, also of norms; not the {2 * channels:,} running statistics of {norms} norms"
    flops = f"{page.trial['flops']:,} per image: 2 per multiply-accumulate of convolutions and linear layers"
    images = f"{len(data.train_indices):,} images to train on, {len(data.val_indices):,} to validate on"
    digest = hashlib.sha256(data.train_indices.tobytes() + data.val_indices.tobytes()).hexdigest()
    return [
        ("licence", license_name or UNKNOWN_LICENSE),
        ("parameters", f"{facts['params']:,} trainable: {counting}"),
        ("FLOPs", flops),
        ("classes", ", ".join(facts["classes"])),
        ("input", "uint8 (N, H, W, C), decoded; mean and standard deviation are inside the file"),
        ("data set", f"{Path(facts['dataset']).name}, SHA-256 of the training images {data.sha256}"),
        ("split", f"{images}, SHA-256 of their indices {digest}"),
        ("test images", f"SHA-256 {data.test_sha256}"),
    ]


def _accuracies(folder: Path, facts: Mapping[str, Any], data: TrainingSet, page: TrialFacts) -> str:
    state = read_record(folder)
    validation = "not measured, all images are trained on"
    if facts["val_accuracy"] is not None:
        validation = f"{interval_text(facts['val_accuracy'], len(data.val_indices))} (95% interval)"
    rank = f"rank {page.rank or 'none'} of {counted(len(state.trials), 'trial')}"
    lines = [f"- validation, at epoch {facts['epoch']}: {validation}"]
    refit_of = read_config(folder).refit_of
    if refit_of:
        lines.append(f"- a refit of {refit_of}, the trial that a search chose; seed {page.trial['seed']}")
    else:
        lines.append(
            f"- {rank} in its run; trials are chosen by validation accuracy, which makes that of the best optimistic"
        )
    trial = page.trial
    if trial["test_accuracy"] is None:
        lines.append("- test: not measured")
    else:
        flipped = ", averaged with the mirror image" if trial["test_flip"] else ""
        images = trial["test_images"] or read_config(folder).dataset_facts.test_images  # older records lack the number
        test = interval_text(trial["test_accuracy"], images)
        lines.append(f"- test, with the weights of epoch {trial['test_epoch']}: {test} (95% interval){flipped}")
    seeds = [t.test_accuracy for t in state.trials.values() if t.test_accuracy is not None]
    if refit_of and len(seeds) > 1:
        error = stdev(seeds) / sqrt(len(seeds))
        lines.append(f"- test, mean over {len(seeds)} seeds: {fmean(seeds):.2%} ± {error:.2%} (standard error)")
    earlier = "; those of the search are not counted here" if refit_of else ""
    lines.append(f"- looks at the test set in this run: {state.test_openings}{earlier}")
    return "\n".join(lines)


def _environment(page: TrialFacts) -> list[tuple[str, str]]:
    git, versions = page.trained_with.get("git"), page.trained_with.get("versions", {})
    hardware = page.trained_with.get("hardware", {})
    commit = "unknown" if git is None else git["commit"] + (" with changes" if git["dirty"] else "")
    return [
        ("commit", commit),
        ("versions", ", ".join(f"{name} {version}" for name, version in versions.items()) or "unknown"),
        ("hardware", ", ".join(str(hardware[name]) for name in ("cpu", "machine", "system") if hardware.get(name))),
        ("training", f"{page.time.train_s:,.1f} s in {counted(page.time.epochs, 'epoch')}; seed {page.trial['seed']}"),
        ("again", f"`{page.command}`"),
    ]


def _table(title: str, rows: list[tuple[str, str]]) -> str:
    cells = [(name, " ".join(text.split()).replace("|", "\\|")) for name, text in rows]
    return "\n".join([f"## {title}", "", "| | |", "| --- | --- |", *(f"| {name} | {text} |" for name, text in cells)])
