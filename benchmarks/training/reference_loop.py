"""A training loop as student projects write it: torchvision's transforms on every image, worker processes, float32.

It uses Pillow images, `torchvision.transforms`, a `DataLoader`, contiguous tensors and `torch.optim` with torch's
default settings, and reads the loss and the number of correct predictions at every step. Recipe and network are those
of our loop.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from model_zoo import ResNetLayout, build
from trainables.data import TrainingSet
from trainables.recipe import Recipe

LOOKAHEAD = 2
"""Batches that a worker prepares ahead, the DataLoader's default."""


@dataclass(frozen=True, slots=True)
class LoopReport:
    """The results of one epoch of a loop."""

    images: int
    """Images trained on."""
    train_loss: float
    """Mean training loss of the epoch, nats."""
    train_time_s: float
    """Seconds of training, including data loading."""
    eval_time_s: float
    """Seconds of validation."""


class Cutout:
    """Sets a square of side `side` around a random centre to zero, (C, H, W). Source: arXiv 1708.04552."""

    def __init__(self, side: int) -> None:
        self.side = side

    def __call__(self, image: Tensor) -> Tensor:
        _, height, width = image.shape
        row, column = np.random.randint(height), np.random.randint(width)  # noqa: NPY002 (as these projects write it)
        mask = np.ones((height, width), np.float32)
        top, left = row - self.side // 2, column - self.side // 2
        mask[max(0, top) : max(0, top + self.side), max(0, left) : max(0, left + self.side)] = 0.0
        return image * torch.from_numpy(mask).expand_as(image)


class PillowImages(Dataset[tuple[Tensor, int]]):
    """The images at `indices`, each passed through `transform` at every access."""

    def __init__(self, data: TrainingSet, indices: np.ndarray, transform: transforms.Compose) -> None:
        self.data, self.indices, self.transform = data, indices, transform

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, number: int) -> tuple[Tensor, int]:
        position = self.indices[number]
        return self.transform(Image.fromarray(self.data.images[position])), int(self.data.labels[position])


class ReferenceLoop:
    """Trains `layout` with the parts of `recipe` that such loops have: sgd or nesterov at a constant learning rate."""

    def __init__(
        self,
        layout: ResNetLayout,
        recipe: Recipe,
        data: TrainingSet,
        device: torch.device,
        workers: int,
        seed: int = 0,
    ) -> None:
        self.recipe, self.device = recipe, device
        size = data.images.shape[1]
        as_tensor = [transforms.ToTensor(), transforms.Normalize(data.mean, data.std)]
        changes: list[object] = []
        if recipe.crop_padding:
            mode = "reflect" if recipe.padding_mode == "reflect" else "constant"
            changes.append(transforms.RandomCrop(size, recipe.crop_padding, padding_mode=mode))
        if recipe.flip:
            changes.append(transforms.RandomHorizontalFlip())
        cutout = [Cutout(recipe.cutout)] if recipe.cutout else []
        train = PillowImages(data, data.train_indices, transforms.Compose([*changes, *as_tensor, *cutout]))
        val = PillowImages(data, data.val_indices, transforms.Compose(as_tensor))
        shared = {
            "batch_size": recipe.batch_size,
            "num_workers": workers,
            "persistent_workers": workers > 0,  # in favour of this loop; otherwise each epoch starts new workers
            "pin_memory": device.type == "cuda",
        }
        self.train_batches = DataLoader(train, shuffle=True, drop_last=True, **shared)  # type: ignore[arg-type]
        self.val_batches = DataLoader(val, **shared)  # type: ignore[arg-type]
        torch.manual_seed(seed)
        self.network = build(layout, seed).to(device)
        self.optimizer = torch.optim.SGD(
            self.network.parameters(),
            lr=recipe.learning_rate,
            momentum=recipe.momentum,
            weight_decay=recipe.weight_decay,
            nesterov=recipe.optimizer == "nesterov",
        )
        self.loss = nn.CrossEntropyLoss(label_smoothing=recipe.label_smoothing)

    def train_epoch(self) -> LoopReport:
        """Trains one pass over the training images and validates."""
        started = time.perf_counter()
        self.network.train()
        total, correct, images = 0.0, 0, 0
        for x, y in self.train_batches:
            x, y = x.to(self.device), y.to(self.device)
            self.optimizer.zero_grad()
            logits = self.network(x)
            loss = self.loss(logits, y)
            loss.backward()
            self.optimizer.step()
            total += loss.item() * len(y)
            correct += (logits.argmax(1) == y).sum().item()
            images += len(y)
        trained = time.perf_counter()
        self.network.eval()
        with torch.no_grad():
            for x, y in self.val_batches:
                x, y = x.to(self.device), y.to(self.device)
                logits = self.network(x)
                self.loss(logits, y).item()
                correct += (logits.argmax(1) == y).sum().item()
        return LoopReport(images, total / images, trained - started, time.perf_counter() - trained)
