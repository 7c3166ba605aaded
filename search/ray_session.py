"""Ray as this project starts it: quiet, local unless an address is given, with its resources checked first."""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import socket
from collections.abc import Iterator
from typing import Any

from results.files import is_full
from search.config import RunConfig
from search.errors import ResourceError
from search.halt import sigterm_kept
from search.machine import available_cpus
from trainables.execution import environment

ENVIRONMENT = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # five files a trial that nobody reads
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # search.tuning stops the search itself
    "TUNE_GLOBAL_CHECKPOINT_S": "inf",  # a snapshot of all trials, 2 s at 5,000, that nobody reads; else every 10 s
    "TUNE_WARN_THRESHOLD_S": "600",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
"""Settings Ray reads when it is imported or started."""
VITAL = ("raylet", "gcs_server")
"""Ray's processes that it neither restarts nor can do without."""


def check_local_resources(config: RunConfig) -> int:
    """The number of trials this machine runs at a time for `config`; asked before Ray is started, so within a second.

    Raises:
        ResourceError: a trial, or the concurrency asked for, needs more than the machine has.
    """
    return fitting_concurrency(config, available_cpus(), _local_gpus(config), "this machine")


def _local_gpus(config: RunConfig) -> int:
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


def roomier(config: RunConfig, concurrency: int) -> dict[str, float] | None:
    """The resources with which a trial of `config` that ran out of memory is tried again; None when it had all.

    With GPUs, double the share of one; without, so many CPU cores that on its node half as many trials run at a time.
    """
    import ray

    if config.gpu_share:
        share = 2 * config.gpu_share
        return {"cpu": config.cpus_per_trial, "gpu": share} if share <= 1 else None
    cpus = max(node["Resources"].get("CPU", 0) for node in ray.nodes() if node["Alive"])
    half = min(concurrency, int(cpus // config.cpus_per_trial)) // 2
    return {"cpu": cpus - (half - 1) * config.cpus_per_trial, "gpu": 0} if half else None


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


@contextlib.contextmanager
def ray_session(config: RunConfig, address: str | None) -> Iterator[int]:
    """Ray started or connected to, for the body of the `with`; gives the number of trials at a time.

    Raises:
        ResourceError: the cluster cannot be reached or holds fewer trials than asked for.
    """
    os.environ.update(ENVIRONMENT | environment())  # Ray's processes, and so the trials, are children of this one
    import ray

    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR, "include_dashboard": False}
    logging.getLogger("ray").setLevel(logging.ERROR)
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # what went wrong stands in the record, in the trial's row
    if address is None:
        concurrency = check_local_resources(config)
        with sigterm_kept():
            # Without "local" it would join a cluster that runs here, or that RAY_ADDRESS names.
            ray.init(address="local", num_cpus=available_cpus(), num_gpus=_local_gpus(config), **quiet)
    else:
        quiet.pop("include_dashboard")
        check_address(address)
        try:
            with sigterm_kept():
                ray.init(address=address, **quiet)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise ResourceError(
                f"address: {address} cannot be reached ({str(error).splitlines()[0]}); is the Ray cluster up there?"
            ) from None
    try:
        if address is not None:
            there = ray.cluster_resources()
            concurrency = fitting_concurrency(
                config, there.get("CPU", 0), there.get("GPU", 0), f"the cluster at {address}"
            )
        yield concurrency
    finally:
        try:
            ray.shutdown()
        except OSError as error:
            if not is_full(error):
                raise
            # To remove the folder of spilled objects, Ray makes it first. Its processes end with this one.
            atexit.unregister(ray.shutdown)


def dead_processes() -> list[str]:
    """Names of the processes of this machine's Ray that died and that no trial can go on without; empty without Ray.

    Ray restarts none of them. Those of a cluster that was started elsewhere are not seen.
    """
    from ray._private import worker  # no public name tells them; tests/test_trial_endings.py holds it to this Ray

    node = getattr(worker, "_global_node", None)
    return [name for name, _ in node.dead_processes() if name in VITAL] if node is not None else []
