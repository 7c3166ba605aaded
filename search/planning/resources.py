"""How many trials the machine or a cluster runs at a time, and whether a cluster answers."""

from __future__ import annotations

import socket

from search.config.views import Resources
from search.errors import ResourceError
from search.machine import available_cpus


def available_concurrency(resources: Resources, address: str | None) -> int:
    """The number of trials at a time, as far as it is known without Ray: within a second, and 1 for a cluster.

    Raises:
        ResourceError: this machine lacks what is asked for, or nobody listens at `address`.
    """
    if address is None:
        return check_local_resources(resources)
    check_address(address)
    return resources.concurrency or 1


def check_local_resources(resources: Resources) -> int:
    """The number of trials that this machine runs at a time.

    Raises:
        ResourceError: a trial, or the concurrency asked for, needs more than the machine has.
    """
    return fitting_concurrency(resources, available_cpus(), local_gpus(resources), "this machine")


def local_gpus(resources: Resources) -> int:
    """CUDA devices, or 1 for MPS; 0 without a look when none is asked for, because torch takes seconds to import."""
    if resources.gpus == 0:
        return 0
    import torch

    return torch.cuda.device_count() or int(torch.backends.mps.is_available())


def fitting_concurrency(resources: Resources, cpus: float, gpus: float, where: str) -> int:
    """The number of trials at a time that `cpus` and `gpus` hold, at most `resources.concurrency`.

    Raises:
        ResourceError: they hold no trial, or fewer than `resources.concurrency`.
    """
    for name, asked, there in (("cpus_per_trial", resources.cpus, cpus), ("gpus_per_trial", resources.gpus, gpus)):
        if asked > there:
            raise ResourceError(f"{name}: {asked:g} asked for, {where} has {there:g}; lower --{name.replace('_', '-')}")
    fits = int(cpus // resources.cpus)
    if resources.gpus:
        # 0.2 fits five times, which floats deny: 1 // 0.2 is 4
        on_gpus = gpus // resources.gpus if resources.gpus >= 1 else gpus * int(1 / resources.gpus + 1e-6)
        fits = min(fits, int(on_gpus))
    if resources.concurrency is not None and resources.concurrency > fits:
        raise ResourceError(
            f"concurrency: {resources.concurrency} trials of {resources.cpus} CPUs and {resources.gpus:g} GPUs asked "
            f"for, {where} has {cpus:g} CPUs and {gpus:g} GPUs, room for {fits}; lower --concurrency"
        )
    return resources.concurrency or fits


def check_address(address: str) -> None:
    """Nothing, when somebody listens at `address`; asked before a run's folder is made.

    Raises:
        ResourceError: nobody does.
    """
    # Ray itself tries an address for minutes; one connection tells at once whether anybody listens there.
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon:
        return  # "auto" and "local" are looked up by Ray
    try:
        socket.create_connection((host, int(port)), timeout=4).close()
    except (OSError, ValueError) as error:
        raise ResourceError(f"address: {address} cannot be reached ({error}); is the Ray cluster up there?") from None
