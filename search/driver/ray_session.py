"""Ray as this project starts it: quiet, local unless an address is given, and with the resources checked first."""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
from collections.abc import Iterator
from typing import Any

from results.record.files import is_full
from search.config.views import Resources
from search.driver.stopping import sigterm_kept
from search.errors import ResourceError
from search.machine import available_cpus
from search.planning.resources import check_address, check_local_resources, fitting_concurrency, local_gpus, spread
from trainables.process_settings import environment

ENVIRONMENT = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # five files per trial that are never read
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # search.driver.session stops the search itself
    "TUNE_GLOBAL_CHECKPOINT_S": "inf",  # else a snapshot of all trials every 10 s: never read, and 2 s at 5,000 trials
    "TUNE_WARN_THRESHOLD_S": "600",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
"""Settings that Ray reads when it is imported or started."""


def roomier(resources: Resources, concurrency: int) -> dict[str, float] | None:
    """The resources for retrying a trial that ran out of memory; None if it already had everything.

    With GPUs, a whole one; without, enough CPU cores that half as many trials run at a time on its node.
    """
    import ray

    if resources.gpus:
        return {"cpu": resources.cpus, "gpu": 1.0} if resources.gpus < 1 else None
    cpus = max(node["Resources"].get("CPU", 0) for node in ray.nodes() if node["Alive"])
    half = min(concurrency, int(cpus // resources.cpus)) // 2
    return {"cpu": cpus - (half - 1) * resources.cpus, "gpu": 0} if half else None


@contextlib.contextmanager
def ray_session(resources: Resources, address: str | None, trials: int) -> Iterator[tuple[int, Resources]]:
    """Starts Ray, or connects to it, for the body of the `with`; yields the number of trials at a time.

    With it come the resources to reserve for each, which spread `trials` trials over the GPUs of this machine.

    Raises:
        ResourceError: the cluster cannot be reached, or has room for fewer trials than requested.
    """
    os.environ.update(ENVIRONMENT | environment())  # Ray's processes, and so the trials, inherit it
    import ray

    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR, "include_dashboard": False}
    logging.getLogger("ray").setLevel(logging.ERROR)
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # the errors of trials are in the record
    if address is None:
        concurrency = check_local_resources(resources)
        with sigterm_kept():
            # Without "local", Ray would join a cluster that runs here or that RAY_ADDRESS names.
            gpus = local_gpus(resources)
            ray.init(address="local", num_cpus=available_cpus(), num_gpus=gpus, **quiet)
            resources = spread(resources, min(concurrency, trials), gpus)
    else:
        quiet.pop("include_dashboard")
        check_address(address)
        try:
            with sigterm_kept():
                ray.init(address=address, **quiet)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise ResourceError(
                f"address: {address} cannot be reached ({str(error).splitlines()[0]}); is the Ray cluster running?"
            ) from None
    try:
        if address is not None:
            alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
            nodes = [(node.get("CPU", 0.0), node.get("GPU", 0.0)) for node in alive]
            concurrency = fitting_concurrency(resources, nodes, f"the cluster at {address}")
        yield concurrency, resources
    finally:
        try:
            ray.shutdown()
        except OSError as error:
            if not is_full(error):
                raise
            # Ray creates the folder of spilled objects before it removes it. Its processes end with this one.
            atexit.unregister(ray.shutdown)
