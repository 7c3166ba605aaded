"""A network as an ONNX file, written only after onnxruntime has given torch's answers on the validation images."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np
import torch
from torch import nn

from search.errors import SearchError
from trainables.data import TrainingSet
from trainables.data.stored_arrays import Images
from trainables.evaluation import EVAL_BATCH

OPSET: Final = 18
"""The version of ONNX's operators."""
TOLERANCE: Final = 1e-4
"""Largest difference of a logit between onnxruntime and torch."""
PACKAGES: Final = ("onnx", "onnxscript", "onnxruntime")
"""The extra `onnx`."""
WIDENED: Final = 16
"""Images that are checked at another size too."""
INPUT: Final = "images"
OUTPUT: Final = "logits"


def onnx_bytes(program: torch.export.ExportedProgram, facts_name: str, facts: Mapping[str, Any]) -> bytes:
    """The exported program as one ONNX model with `facts` as JSON in its metadata.

    It needs onnx and onnxscript.
    """
    converted = torch.onnx.export(
        program, opset_version=OPSET, input_names=[INPUT], output_names=[OUTPUT], dynamo=True, verbose=False
    )
    assert converted is not None
    converted.model.metadata_props[facts_name] = json.dumps(facts)
    content: bytes = converted.model_proto.SerializeToString()
    return content


def check_onnx(content: bytes, module: nn.Module, data: TrainingSet, *, resized: bool) -> str:
    """Compares onnxruntime's logits with those of `module` for all validation images; returns a sentence on it.

    With `resized`, also for some of them with every column twice, which the model crops and resizes.

    Raises:
        SearchError: a logit differs by more than `TOLERANCE`, the model is not one, or onnxruntime is missing.
    """
    runtime = required("onnxruntime")
    try:
        session = runtime.InferenceSession(content, providers=["CPUExecutionProvider"])
        difference = 0.0
        for batch in _batches(data, resized=resized):
            (given,) = session.run([OUTPUT], {INPUT: batch})
            with torch.inference_mode():
                expected = module(torch.from_numpy(batch)).numpy()
            difference = max(difference, float(np.abs(given - expected).max()))
    except Exception as error:  # onnxruntime has no common class of errors
        if not type(error).__module__.startswith("onnxruntime") and not isinstance(error, ValueError):
            raise
        reason = " ".join(str(error).split())[:200]
        raise SearchError(f"onnx: not a model for this trial's images ({reason}); export it again") from None
    if not difference <= TOLERANCE:
        raise SearchError(
            f"onnx: a logit differs from torch's by {difference:.2g}, and at most {TOLERANCE:g} is allowed; use .pt2, "
            "or another version of onnxruntime"
        )
    return f"onnxruntime {runtime.__version__} differs from torch by at most {difference:.1e} on the validation images"


def required(package: str) -> Any:
    """The module of a package of the extra `onnx`.

    Raises:
        SearchError: it is not installed.
    """
    try:
        return importlib.import_module(package)
    except ImportError:
        raise SearchError(f"onnx: the package {package} is missing; install parambudget[onnx]") from None


def _batches(data: TrainingSet, *, resized: bool) -> Iterator[Images]:
    indices = data.val_indices if len(data.val_indices) else data.train_indices[:EVAL_BATCH]  # all may be trained on
    for start in range(0, len(indices), EVAL_BATCH):
        yield np.array(data.images[indices[start : start + EVAL_BATCH]])
    if resized:
        yield np.repeat(data.images[indices[:WIDENED]], 2, axis=2)
