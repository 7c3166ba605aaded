"""Checkpoints as safetensors files; loading one runs no code from the file."""

from __future__ import annotations

import errno
import json
import logging
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

from trainables.errors import CheckpointError

FORMAT = "parambudget-checkpoint-1"
LAST, AVERAGED, BEST = "network/", "averaged/", "best/"
"""Prefixes of the names of the network's tensors: after the last epoch, averaged, after the best epoch."""
FULL = (errno.ENOSPC, errno.EDQUOT)
"""Errors of a full disk or a user's exhausted quota."""
POLL_S = 1.0
"""Seconds between two attempts on a full disk."""

logger = logging.getLogger(__name__)


def save(
    path: Path,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    identity: dict[str, object],
    report: dict[str, object],
    best: Mapping[str, Tensor] | None = None,
    averaged: Mapping[str, Tensor] | None = None,
) -> None:
    """Writes the training's state and the report of its last epoch to `path`: a temporary file, fsync, rename.

    On a full disk it waits until there is room, so that no trial is lost and no report precedes its checkpoint.
    `best` are the network's weights and buffers after its best epoch, for recipes that keep them; `averaged` are the
    averaged ones, for recipes that average. The random state is not saved, because the generator of every epoch is
    seeded by the training's seed and the epoch's number.
    """
    tensors = {f"{LAST}{name}": value for name, value in network.state_dict().items()}
    tensors |= {f"{BEST}{name}": value for name, value in (best or {}).items()}
    tensors |= {f"{AVERAGED}{name}": value for name, value in (averaged or {}).items()}
    for number, state in optimizer.state_dict()["state"].items():
        for name, value in state.items():
            if value is not None:
                tensors[f"optimizer/{number}/{name}"] = torch.as_tensor(value)
    header = {"format": FORMAT, "identity": json.dumps(identity), "report": json.dumps(report)}
    _replace(path, to_bytes({name: value.detach().cpu().contiguous() for name, value in tensors.items()}, header))


def load(
    path: Path,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    identity: dict[str, object],
    past: Callable[[dict[str, Any], int], dict[str, Any]] = lambda identity, epoch: identity,
    with_best: bool = False,
    averaged: Mapping[str, Tensor] | None = None,
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Restores `network`, `optimizer` and `averaged` as `save` wrote them; returns the last report and best weights.

    The best weights are on the CPU, and empty without `with_best`. `past` returns the part of an identity on which its
    first `epoch` epochs depend; only that part must be the same.

    Raises:
        CheckpointError: `path` is damaged or was written by a training with another identity.
    """
    header, tensors = read(path)
    report: dict[str, Any] = json.loads(header["report"])
    epoch = _epoch(report)
    saved, expected = (past(one, epoch) for one in (json.loads(header["identity"]), json.loads(json.dumps(identity))))
    if saved != expected:
        other = ", ".join(name for name in expected if saved.get(name) != expected[name]) or "version"
        raise CheckpointError(
            f"{path}: belongs to another training, which differs in its {other}; remove it to train from the start"
        )
    state = _optimizer_state(path, tensors)
    best = _copied(_weights(path, network, tensors, BEST)) if with_best else {}
    average = _weights(path, network, tensors, AVERAGED) if averaged else {}
    network.load_state_dict(_weights(path, network, tensors, LAST))
    for name, value in average.items():
        (averaged or {})[name].copy_(value)
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    return report, best


def read_epoch(path: Path) -> int:
    """The epoch after which a checkpoint was written, without reading its tensors; 0 if the file does not say.

    Raises:
        CheckpointError: `path` is not a checkpoint of this format.
    """
    return _epoch(json.loads(_header(path)["report"]))


def load_weights(path: Path, network: nn.Module, best: bool = False) -> None:
    """Restores only the weights and buffers, as they were validated after the last epoch or after the best one.

    If the recipe averages the weights, these are the averaged ones.

    Raises:
        CheckpointError: `path` is damaged or contains another network.
    """
    tensors = read(path)[1]
    last = AVERAGED if any(name.startswith(AVERAGED) for name in tensors) else LAST
    network.load_state_dict(_weights(path, network, tensors, BEST if best else last))


def read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The header (`format`, `identity` and `report`, the last two as JSON objects) and the tensors of a checkpoint.

    Raises:
        CheckpointError: `path` is not a checkpoint of this format.
    """
    header = _header(path)
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except (OSError, SafetensorError) as error:
        raise _unreadable(path, error) from error
    return header, tensors


def _header(path: Path) -> dict[str, Any]:
    try:
        with safe_open(path, framework="pt") as file:
            header: dict[str, Any] = file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise _unreadable(path, error) from error
    if header.get("format") != FORMAT:
        raise CheckpointError(f"{path}: format {header.get('format')!r}, expected {FORMAT!r}; remove it")
    for name in ("identity", "report"):
        if not _is_json_object(header.get(name)):
            raise CheckpointError(f"{path}: its {name} is damaged; remove it")
    return header


def _unreadable(path: Path, error: Exception) -> CheckpointError:
    return CheckpointError(f"{path}: not readable as a checkpoint ({str(error)!r}); remove it")


def _epoch(report: dict[str, Any]) -> int:
    epoch = report.get("epoch")
    return epoch if isinstance(epoch, int) else 0


def _replace(path: Path, content: bytes) -> None:
    """Writes the file completely or not at all; on a full disk it waits for room, without occupying any meanwhile."""
    prefix, suffix = f".{path.name}.", ".tmp"
    temporary = path.with_name(f"{prefix}{os.getpid()}{suffix}")
    waited = False
    while True:
        try:
            # Without its parents: otherwise the worker of a killed driver would recreate a run's folder that was moved.
            path.parent.mkdir(exist_ok=True)
            _write(temporary, content)
            os.replace(temporary, path)
            break
        except OSError as error:
            temporary.unlink(missing_ok=True)
            if error.errno not in FULL:
                raise
            if not waited:
                logger.warning("%s: the disk is full; waiting for room for %s bytes", path, f"{len(content):,}")
            waited = True
            time.sleep(POLL_S * (0.75 + os.getpid() % 64 / 128))  # so that waiting processes try at different times
    for entry in path.parent.iterdir():  # remains of processes that were killed while writing, up to 40 MB each
        if entry.name.startswith(prefix) and entry.name.endswith(suffix):
            entry.unlink(missing_ok=True)


def _write(path: Path, content: bytes) -> None:
    with open(path, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _is_json_object(text: object) -> bool:
    try:
        return isinstance(text, str) and isinstance(json.loads(text), dict)
    except ValueError:
        return False


def _optimizer_state(path: Path, tensors: dict[str, Tensor]) -> dict[int, dict[str, Tensor]]:
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith("optimizer/"):
            number, _, field = name.removeprefix("optimizer/").partition("/")
            if not number.isdecimal() or not field.isidentifier():
                raise CheckpointError(f"{path}: its optimizer's state is damaged ({name!r}); remove it")
            # The fused kernels walk parameter and state side by side in memory, so both must be channels-last. A copy,
            # because the values are mapped from the file, which may be removed while the training continues.
            layout = torch.channels_last if value.dim() == 4 else torch.preserve_format
            state.setdefault(int(number), {})[field] = value.clone(memory_format=layout)
    return state


def _weights(path: Path, network: nn.Module, tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin with `prefix`, checked to fit `network`."""
    found = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
    own = network.state_dict()
    wrong = sorted(own.keys() ^ found.keys()) or [name for name in own if own[name].shape != found[name].shape]
    if wrong:
        raise CheckpointError(f"{path}: holds another network ({prefix + wrong[0]!r} differs); remove it")
    return found


def _copied(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in tensors.items()}  # else mapped from the file, which is replaced
