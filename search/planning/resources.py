"""How many trials this machine or a cluster can run at a time, and whether the cluster can be reached."""

from __future__ import annotations

import socket

from search.config.views import Resources
from search.errors import ResourceError
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
    return fitting_concurrency(resources, available_cpus(), local_gpus(resources), "this machine")


def local_gpus(resources: Resources) -> int:
    """The number of CUDA devices, or 1 for MPS; 0 if none is requested, because importing torch takes seconds."""
    if resources.gpus == 0:
        return 0
    import torch

    return torch.cuda.device_count() or int(torch.backends.mps.is_available())


def fitting_concurrency(resources: Resources, cpus: float, gpus: float, where: str) -> int:
    """The number of trials at a time that `cpus` and `gpus` have room for, at most `resources.concurrency`.

    Raises:
        ResourceError: there is no room for one trial, or for `resources.concurrency` trials.
    """
    for name, wanted, there in (("cpus_per_trial", resources.cpus, cpus), ("gpus_per_trial", resources.gpus, gpus)):
        if wanted > there:
            flag = f"--{name.replace('_', '-')}"
            raise ResourceError(f"{name}: {wanted:g} requested, but {where} has {there:g}; lower {flag}")
    fits = int(cpus // resources.cpus)
    if resources.gpus:
        # Five shares of 0.2 fit, but in floating point 1 // 0.2 is 4.
        on_gpus = gpus // resources.gpus if resources.gpus >= 1 else gpus * int(1 / resources.gpus + 1e-6)
        fits = min(fits, int(on_gpus))
    if resources.concurrency is not None and resources.concurrency > fits:
        raise ResourceError(
            f"concurrency: {resources.concurrency} trials of {resources.cpus} CPUs and {resources.gpus:g} GPUs "
            f"requested, but {where} has {cpus:g} CPUs and {gpus:g} GPUs, room for {fits}; lower --concurrency"
        )
    return resources.concurrency or fits


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
