"""Checkpoints as safetensors: loading one runs no code from the file."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

from trainables.errors import CheckpointError

FORMAT = "parambudget-checkpoint-1"


def save(
    path: Path,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    identity: dict[str, object],
    report: dict[str, object],
) -> None:
    """Writes the training's state and its last epoch's report to `path`: a temporary file, fsync, rename.

    The random state is not in it: every epoch's generator is seeded by the recipe's seed and the epoch's number.
    """
    tensors = {f"network/{name}": value for name, value in network.state_dict().items()}
    for number, state in optimizer.state_dict()["state"].items():
        for name, value in state.items():
            if value is not None:
                tensors[f"optimizer/{number}/{name}"] = torch.as_tensor(value)
    header = {"format": FORMAT, "identity": json.dumps(identity), "report": json.dumps(report)}
    content = to_bytes({name: value.detach().cpu().contiguous() for name, value in tensors.items()}, header)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with open(temporary, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def load(
    path: Path, network: nn.Module, optimizer: torch.optim.Optimizer, identity: dict[str, object]
) -> dict[str, Any]:
    """Restores what `save` wrote into `network` and `optimizer` and returns the last epoch's report.

    Raises:
        CheckpointError: `path` is damaged or was written by a training of another identity.
    """
    header, tensors = read(path)
    if json.loads(header["identity"]) != json.loads(json.dumps(identity)):
        raise CheckpointError(f"{path}: belongs to another layout or recipe; remove it to train from the start")
    _load_network(network, tensors)
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith("optimizer/"):
            _, number, field = name.split("/")
            # The parameters are channels-last; their optimizer state must be too for the fused kernels.
            dense = value.contiguous(memory_format=torch.channels_last) if value.dim() == 4 else value
            state.setdefault(int(number), {})[field] = dense
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    report: dict[str, Any] = json.loads(header["report"])
    return report


def load_weights(path: Path, network: nn.Module) -> None:
    """Restores the weights alone.

    Raises:
        CheckpointError: `path` is damaged or holds another network.
    """
    _load_network(network, read(path)[1])


def read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The header and the tensors of a checkpoint.

    Raises:
        CheckpointError: `path` is no checkpoint of this format.
    """
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path}: not readable as a checkpoint ({error}); remove it") from error
    if header.get("format") != FORMAT:
        raise CheckpointError(f"{path}: format {header.get('format')!r}, expected {FORMAT!r}; remove it")
    return header, tensors


def _load_network(network: nn.Module, tensors: dict[str, Tensor]) -> None:
    prefix = "network/"
    weights = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise CheckpointError(f"the checkpoint holds another network: {str(error).splitlines()[0]}") from error
