"""How fast is augmenting a whole batch at once, compared with torchvision image by image, on one thread?

Usage: python -m benchmarks.augmentation [PAIRS]

Both turn 128 uint8 images of 32 x 32 noise into a normalised batch, with one augmentation at a time. Torchvision's
transforms get tensors or Pillow images, whichever is faster for them, followed by ToTensor's scaling and Normalize. The
two alternate; a pair is one batch from each, and a ratio is the median over the pairs. The last line is a JSON object.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image
from torchvision import transforms

from trainables.augmentation.batch import augmented_batch
from trainables.recipe import Recipe

BATCH, SIDE = 128, 32
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.247, 0.2435, 0.2616)
OFF: dict[str, Any] = {"crop_padding": 0, "flip": False, "cutout": 0}
CASES: dict[str, tuple[dict[str, Any], list[Any]]] = {
    "none": ({}, []),
    "crop and flip": (
        {"crop_padding": 4, "flip": True},
        [transforms.RandomCrop(SIDE, 4, padding_mode="reflect"), transforms.RandomHorizontalFlip()],
    ),
    "rotation": ({"rotation_degrees": 10.0}, [transforms.RandomRotation(10, transforms.InterpolationMode.BILINEAR)]),
    "autoaugment": ({"policy": "autoaugment"}, [transforms.AutoAugment(transforms.AutoAugmentPolicy.CIFAR10)]),
    "randaugment": ({"policy": "randaugment"}, [transforms.RandAugment()]),
    "trivialaugment": ({"policy": "trivialaugment"}, [transforms.TrivialAugmentWide()]),
    "erasing": ({"erasing": 1.0}, [transforms.RandomErasing(1.0)]),
}
"""The fields of the recipe, and torchvision's transforms of the same name; erasing comes after the normalisation."""


def timed(work: Callable[[], torch.Tensor]) -> float:
    """CPU seconds for one batch."""
    started = time.process_time()
    x = work()
    seconds = time.process_time() - started
    if x.shape != (BATCH, 3, SIDE, SIDE) or x.dtype != torch.float32:
        raise ValueError(f"a batch has {tuple(x.shape)} {x.dtype}")
    return seconds


def batch_at_once(options: dict[str, Any], images: torch.Tensor) -> Callable[[], torch.Tensor]:
    """A function that makes the batch as our training does."""
    recipe, mean, std = Recipe(**OFF | options), torch.tensor(MEAN), torch.tensor(STD)
    draw, host_draw, index = torch.Generator().manual_seed(1), np.random.default_rng(1), torch.randperm(BATCH)
    return lambda: augmented_batch(images, index, recipe, mean, std, draw, host_draw)


def image_by_image(steps: list[Any], images: torch.Tensor, pillow: bool) -> Callable[[], torch.Tensor]:
    """A function that makes the batch with torchvision, from tensors (C, H, W) or from Pillow images."""
    to_float = transforms.ToTensor() if pillow else transforms.ConvertImageDtype(torch.float32)
    after = [step for step in steps if isinstance(step, transforms.RandomErasing)]
    before = [step for step in steps if step not in after]
    pipeline = transforms.Compose([*before, to_float, transforms.Normalize(MEAN, STD), *after])
    given = [Image.fromarray(image) for image in images.numpy()] if pillow else list(images.permute(0, 3, 1, 2))
    return lambda: torch.stack([pipeline(image) for image in given])


def main(pairs: int) -> dict[str, object]:
    """The figures of `pairs` alternating pairs for each augmentation."""
    torch.set_num_threads(1)
    images = torch.randint(0, 256, (BATCH, SIDE, SIDE, 3), dtype=torch.uint8)
    found: dict[str, object] = {"pairs": pairs, "batch": BATCH}
    for name, (options, steps) in CASES.items():
        ours = batch_at_once(options, images)
        tensors, pictures = (image_by_image(steps, images, pillow) for pillow in (False, True))
        theirs = min((tensors, pictures), key=lambda work: min(timed(work) for _ in range(3)))
        seconds = [(timed(ours), timed(theirs)) for _ in range(pairs + 1)][1:]
        found[name] = {
            "images_per_s": round(BATCH / statistics.median(own for own, _ in seconds)),
            "torchvision_images_per_s": round(BATCH / statistics.median(other for _, other in seconds)),
            "torchvision_on": "pillow" if theirs is pictures else "tensors",
            "ratio": round(statistics.median(other / own for own, other in seconds), 2),
        }
        sys.stdout.write(f"{name}: {found[name]}\n")
    return found


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(int(sys.argv[1]) if len(sys.argv) > 1 else 30)) + "\n")
