"""How many trials the machine runs at a time, and whether a cluster answers."""

from __future__ import annotations

import socket

from search.config import RunConfig
from search.errors import ResourceError
from search.machine import available_cpus


def check_local_resources(config: RunConfig) -> int:
    """The number of trials this machine runs at a time for `config`; asked before Ray is started, so within a second.

    Raises:
        ResourceError: a trial, or the concurrency asked for, needs more than the machine has.
    """
    return fitting_concurrency(config, available_cpus(), local_gpus(config), "this machine")


def local_gpus(config: RunConfig) -> int:
    """CUDA devices, or 1 for MPS; 0 without a look when none is asked for, because torch takes seconds to import."""
    if config.gpu_share == 0:
        return 0
    import torch

    return torch.cuda.device_count() or int(torch.backends.mps.is_available())


def fitting_concurrency(config: RunConfig, cpus: float, gpus: float, where: str) -> int:
    """The number of trials at a time that `cpus` and `gpus` hold, at most `config.concurrency`.

    Raises:
        ResourceError: they hold no trial, or fewer than `config.concurrency`.
    """
    for name, asked, there in (
        ("cpus_per_trial", config.cpus_per_trial, cpus),
        ("gpus_per_trial", config.gpu_share, gpus),
    ):
        if asked > there:
            raise ResourceError(f"{name}: {asked:g} asked for, {where} has {there:g}; lower --{name.replace('_', '-')}")
    fits = int(cpus // config.cpus_per_trial)
    if config.gpu_share:
        # 0.2 fits five times, which floats deny: 1 // 0.2 is 4
        on_gpus = gpus // config.gpu_share if config.gpu_share >= 1 else gpus * int(1 / config.gpu_share + 1e-6)
        fits = min(fits, int(on_gpus))
    if config.concurrency is not None and config.concurrency > fits:
        raise ResourceError(
            f"concurrency: {config.concurrency} trials of {config.cpus_per_trial} CPUs and "
            f"{config.gpu_share:g} GPUs asked for, {where} has {cpus:g} CPUs and {gpus:g} GPUs, room for {fits}; "
            "lower --concurrency"
        )
    return config.concurrency or fits


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
