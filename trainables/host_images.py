"""Images that do not fit a device: they stay on the host, and batches are copied to the device one ahead."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor


class HostImages:
    """uint8 images (N, H, W, C) on the host that are looked up like a tensor on `device`.

    Between `begin` and the last of its batches, each look-up must be for the next batch. It was gathered into pinned
    memory and copied on a stream of its own while the device computed the batch before.
    """

    def __init__(self, images: Tensor, device: torch.device) -> None:
        self.device, self.shape = device, images.shape
        self._images = images
        self._copies = torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]
        self._ahead: Iterator[Tensor] = iter(())
        self._next: Tensor | None = None

    def begin(self, batches: Sequence[Tensor]) -> None:
        """Announces look-ups of these batches of indices, which are on any device; it waits for the device once."""
        self._ahead = iter(torch.split(torch.cat([*batches]).cpu(), [len(batch) for batch in batches]))
        self._fetch()

    def __getitem__(self, index: Tensor) -> Tensor:
        """The images (B, H, W, C) at `index` (B,), on the device."""
        found = self._gathered(index.cpu()) if self._next is None else self._next
        if self._copies is not None:
            computing = torch.cuda.current_stream(self.device)
            computing.wait_stream(self._copies)
            found.record_stream(computing)
        self._fetch()
        return found

    def _fetch(self) -> None:
        index = next(self._ahead, None)
        self._next = None if index is None else self._gathered(index)

    def _gathered(self, index: Tensor) -> Tensor:
        pinned = self._copies is not None
        batch = torch.empty((len(index), *self.shape[1:]), dtype=torch.uint8, pin_memory=pinned)
        torch.index_select(self._images, 0, index, out=batch)
        if self._copies is None:
            return batch.to(self.device)
        with torch.cuda.stream(self._copies):
            return batch.to(self.device, non_blocking=True)
