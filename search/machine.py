"""The hardware, versions and git commit that a run records, and the CPU cores that this process may use."""

from __future__ import annotations

import math
import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from search.gpus import Gpus, gpus

CGROUPS: Final = Path("/sys/fs/cgroup")
MEMBERSHIP: Final = Path("/proc/self/cgroup")


def git_state() -> dict[str, Any] | None:
    """Commit of this code and whether its working tree has changes; None outside a git checkout."""
    here = Path(__file__).parent

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(here), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=10).stdout.strip()

    try:
        return {"commit": git("rev-parse", "HEAD"), "dirty": bool(git("status", "--porcelain"))}
    except (OSError, subprocess.SubprocessError):
        return None  # installed from a wheel, where `versions` tells what ran


def versions() -> dict[str, str]:
    """Versions of the installed packages that determine what a training computes."""
    names = ("parambudget", "torch", "torchvision", "ray", "optuna", "pandas", "pyarrow", "numpy")
    found = {}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def hardware(with_gpus: bool) -> dict[str, Any]:
    """Architecture, system, CPU name, CPU cores and memory in bytes of this machine.

    For a run `with_gpus` also the GPUs that torch can use, and the versions of CUDA and cuDNN that it uses them with.
    """
    found = gpus() if with_gpus else Gpus()
    of_gpus = {
        "gpus": [{"name": gpu.name, "memory_bytes": gpu.memory_bytes} for gpu in found.usable],
        "cuda": found.cuda,
        "cudnn": found.cudnn,
    }
    return (of_gpus if found.usable else {}) | {
        "machine": platform.machine(),
        "system": platform.system(),
        "cpu": cpu_name(),
        "cpus": available_cpus(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
    }


def cpu_name() -> str:
    """The name of this machine's CPU as the system reports it; may be empty."""
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def available_cpus(cgroups: Path = CGROUPS, membership: Path = MEMBERSHIP) -> int:
    """CPU cores this process may use: those it is bound to, and at most its control group's quota, rounded up."""
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cpu_quota(cgroups, membership)
    return bound if quota is None else max(1, min(bound, math.ceil(quota)))


def cpu_quota(cgroups: Path = CGROUPS, membership: Path = MEMBERSHIP) -> float | None:
    """The CPU cores that the control groups of this process allow, version 1 or 2; None where there is no limit.

    `cgroups` is the mounted hierarchy and `membership` the file with the groups of the process. A limit of any parent
    holds too. In a container the hierarchy often begins at the process's own group.
    """
    try:
        groups = [line.split(":", 2) for line in membership.read_text().splitlines() if line.count(":") >= 2]
    except OSError:
        groups = []
    unified = next((path for _, names, path in groups if not names), "/")
    of_cpu = next((path for _, names, path in groups if "cpu" in names.split(",")), "/")
    limits = [_quota_v2(folder) for top in (cgroups, cgroups / "unified") for folder in _with_parents(top, unified)]
    limits += [_quota_v1(folder) for name in ("cpu", "cpu,cpuacct") for folder in _with_parents(cgroups / name, of_cpu)]
    return min((limit for limit in limits if limit is not None), default=None)


def _with_parents(top: Path, group: str) -> list[Path]:
    parts = [part for part in group.split("/") if part not in ("", "..")]
    return [top.joinpath(*parts[:count]) for count in range(len(parts) + 1)]


def _quota_v2(folder: Path) -> float | None:
    try:
        quota, period = (folder / "cpu.max").read_text().split()
        return int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):  # no such file, or `max`
        return None


def _quota_v1(folder: Path) -> float | None:
    try:
        quota = int((folder / "cpu.cfs_quota_us").read_text())
        return quota / int((folder / "cpu.cfs_period_us").read_text()) if quota > 0 else None
    except (OSError, ValueError, ZeroDivisionError):
        return None
