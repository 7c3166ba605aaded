"""How many trials this machine or a cluster can run at a time, and whether the cluster can be reached."""

from __future__ import annotations

import math
import socket
from collections.abc import Sequence
from dataclasses import replace

from search.config.views import Resources
from search.errors import ResourceError
from search.gpus import gpus
from search.machine import available_cpus


def available_concurrency(resources: Resources, address: str | None) -> int:
    """The number of trials at a time, found without Ray within a second; for a cluster `concurrency`, or else 1.

    Raises:
        ResourceError: this machine lacks the requested resources, or the cluster cannot be reached at `address`.
    """
    if address is None:
        return check_local_resources(resources)
    check_address(address)
    return resources.concurrency or 1


def check_local_resources(resources: Resources) -> int:
    """The number of trials that this machine runs at a time.

    Raises:
        ResourceError: a trial, or the requested concurrency, needs more than the machine has.
    """
    return fitting_concurrency(resources, [(available_cpus(), local_gpus(resources))], "this machine")


def local_gpus(resources: Resources) -> int:
    """The number of GPUs that torch can use; 0 if none is requested, because to ask torch takes seconds.

    Raises:
        ResourceError: one is requested, and torch can use none; the message has torch's reason.
    """
    if resources.gpus == 0:
        return 0
    found = gpus()
    if not found.count:
        raise ResourceError(found.refusal)
    return found.count


def fitting_concurrency(resources: Resources, nodes: Sequence[tuple[float, float]], where: str) -> int:
    """The number of trials at a time that `nodes`, the CPUs and GPUs of each, have room for.

    That is at most `resources.concurrency`. A trial runs on one node.

    Raises:
        ResourceError: there is no room for one trial, or for `resources.concurrency` trials.
    """
    each = " on one node" if len(nodes) > 1 else ""
    most = [max(amounts, default=0.0) for amounts in zip(*nodes, strict=True)] or [0.0, 0.0]
    wanted = (("cpus_per_trial", resources.cpus), ("gpus_per_trial", resources.gpus))
    for (name, amount), there in zip(wanted, most, strict=True):
        if amount > there:
            flag = f"--{name.replace('_', '-')}"
            raise ResourceError(f"{name}: {amount:g} requested, but {where} has {there:g}{each}; lower {flag}")
    # Five shares of 0.2 fit, but in floating point 1 // 0.2 is 4.
    per_gpu = int(1 / resources.gpus + 1e-6) if resources.gpus else 0
    fits = sum(min(int(cpus // resources.cpus), int(gpus) * per_gpu if per_gpu else int(cpus)) for cpus, gpus in nodes)
    if not fits:
        raise ResourceError(
            f"cpus_per_trial: {resources.cpus} CPUs beside {resources.gpus:g} GPUs requested, but no node of {where} "
            "has both; lower --cpus-per-trial"
        )
    if resources.concurrency is not None and resources.concurrency > fits:
        cpus, gpus = (sum(amounts) for amounts in zip(*nodes, strict=True))
        raise ResourceError(
            f"concurrency: {resources.concurrency} trials of {resources.cpus} CPUs and {resources.gpus:g} GPUs "
            f"requested, but {where} has {cpus:g} CPUs and {gpus:g} GPUs, room for {fits}; lower --concurrency"
        )
    return resources.concurrency or fits


def spread(resources: Resources, concurrency: int, gpus: int) -> Resources:
    """`resources` with the largest share of a GPU that leaves room for `concurrency` trials on `gpus` GPUs.

    Ray fills one GPU with shares before it uses the next, so two trials of 0.5 would leave a second GPU idle.
    """
    if not resources.gpus:
        return resources
    return replace(resources, gpus=max(resources.gpus, gpu_share(-(-concurrency // gpus))))


def gpu_share(trials: int) -> float:
    """The share of a GPU that `trials` trials get each, rounded down to the ten-thousandths in which Ray counts."""
    return math.floor(10_000 / trials) / 10_000


def check_address(address: str) -> None:
    """Checks that something listens at `address`, before a run's folder is created.

    Raises:
        ResourceError: nothing does.
    """
    # Ray itself keeps trying an address for minutes; a single connection tells at once whether anything listens there.
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon:
        return  # "auto" and "local" are looked up by Ray
    try:
        socket.create_connection((host, int(port)), timeout=4).close()
    except (OSError, ValueError) as error:
        raise ResourceError(f"address: {address} cannot be reached ({error}); is the Ray cluster running?") from None
