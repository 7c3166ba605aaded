"""Downloads through torchvision that either succeed or fail in bounded time."""

import contextlib
import http.client
import socket
import tarfile
import warnings
import zlib
from collections.abc import Iterator
from types import ModuleType

TIMEOUT_S = 20
"""Seconds without a byte after which a download has failed; a working host answers within 2."""

DOWNLOAD_ERRORS = (OSError, RuntimeError, EOFError, http.client.HTTPException, tarfile.TarError, zlib.error)
"""What torchvision raises if a host cannot be reached, stops midway or sends something else."""


@contextlib.contextmanager
def torchvision_downloads() -> Iterator[ModuleType]:
    """Yield torchvision.datasets, with a timeout of `TIMEOUT_S` on every socket that is opened meanwhile.

    torchvision passes no timeout to urllib, which then waits forever; only the process-wide default can change that.
    """
    import torchvision.datasets

    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT_S)
    try:
        with warnings.catch_warnings():
            # NumPy 2.4.0 to 2.4.4 warn about the Python 2 pickles of CIFAR (numpy#31177).
            warnings.filterwarnings("ignore", message=r"dtype\(\): align")
            yield torchvision.datasets
    finally:
        socket.setdefaulttimeout(before)


def one_line(error: BaseException) -> str:
    """Return the message of `error` as one line of at most 300 characters."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 300 else f"{text[:297]}..."
