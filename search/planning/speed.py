"""How long an epoch takes on this machine, measured by training for some seconds."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from typing import Any, Final

from model_zoo import ResNetLayout, count_flops
from search.config import RunConfig
from search.planning.cost import mean_flops
from trainables.recipe import Recipe

WARM_STEPS: Final = 3
"""Steps before the measurement: the first ones allocate memory and choose algorithms."""
MEASURED_S: Final = 8.0
"""Seconds of training that are measured."""
START_S: Final = 20.0
"""Seconds before the first step of a run: the start of Ray, imports in the workers, the data."""
RESERVE: Final = 0.9
"""Share of the time that is planned, so that a machine which slows down a little still ends in time."""


def epoch_time_s(config: RunConfig, layout: ResNetLayout, recipe: Recipe, at_once: int) -> float:
    """Seconds of an epoch with its validation when `at_once` trainings run at a time; the slowest of them.

    Images of full size are measured. Where training begins with smaller ones, the time is taken to be as the FLOPs.

    Raises:
        TrainablesError: the data set or the device cannot be used.
    """
    full = config.space.image_size
    arguments = (
        layout.to_dict(),
        recipe.model_dump() | {"first_image_size": 0},
        mean_flops(layout, recipe.first_image_size, recipe.resizing_share, full) / count_flops(layout, full),
        config.data_arguments,
        config.cpus_per_trial,
        config.resources.gpus,
        config.compile,
    )
    with ProcessPoolExecutor(at_once, mp_context=get_context("spawn")) as processes:
        return max(processes.map(_measure, [arguments] * at_once))


def epochs_within(budget_s: float, epoch_s: float, rounds: int) -> int:
    """The most epochs of which `rounds` trainings, one after another, end within `budget_s` seconds; may be 0."""
    return max(0, int(RESERVE * (budget_s - START_S) / (epoch_s * rounds)))


def _measure(arguments: tuple[dict[str, Any], dict[str, Any], float, dict[str, Any], int, float, Any]) -> float:
    from trainables.data import load_training_set
    from trainables.devices import memory_bytes, pick_device
    from trainables.process_settings import prepare_process, room_for_images
    from trainables.training import Trainer

    layout, recipe, part_of_step, data_arguments, threads, share, compile = arguments
    device = pick_device(share > 0)
    prepare_process(threads, device)
    room = room_for_images(memory_bytes(device), share) if device.type == "cuda" else None
    data, chosen = load_training_set(**data_arguments), Recipe(**recipe)
    steps = chosen.batches(len(data.train_indices))

    def timed(batches: int) -> tuple[float, float]:
        """Seconds of a step, and of a validation, in the second of two epochs of this many batches."""
        few = replace(data, train_indices=data.train_indices[: batches * chosen.batch_size])
        trainer = Trainer(ResNetLayout.from_dict(layout), chosen, few, device, epochs=2, compile=compile, room=room)
        trainer.train_epoch()
        report = trainer.train_epoch()
        return report.train_time_s / chosen.batches(len(few.train_indices)), report.eval_time_s

    step_s, _ = timed(min(WARM_STEPS, steps))
    step_s, validation_s = timed(min(steps, max(WARM_STEPS, int(MEASURED_S / 2 / step_s))))
    return part_of_step * step_s * steps + validation_s
