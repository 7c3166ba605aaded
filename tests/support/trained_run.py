"""A run whose one trial was trained here, without Ray: what `search.evaluate` opens, in a second."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from model_zoo import ResNetLayout, count_flops, count_params
from results import Record
from results.console import run_app
from search.config import RunConfig, compose
from search.driver.searcher import REPORT_FIELDS
from search.evaluate import app
from search.runs.checkpoint_files import checkpoint_path
from search.runs.folder import write_run_file
from tests.support.results_fixtures import start_session
from tests.support.training_fixtures import CPU
from trainables.data import TrainingSet, load_training_set
from trainables.errors import TrainablesError
from trainables.recipe import Recipe
from trainables.training import Trainer

EPOCHS = 6
UNSTEADY = ("optimizer=sgd", "schedule=constant", "learning_rate=0.05", "batch_size=8", "precision=float32")
"""A rate too high to be trained well by: the accuracy jumps, and the best epoch is not the last."""


def write_trained_run(
    folder: Path,
    *recipe: str,
    blocks: tuple[int, ...] = (1, 1),
    channels: tuple[int, ...] = (8, 8),
    **flags: Any,
) -> Trainer:
    """Trains a small network by `recipe` and writes the run's folder; on 96 digits where `flags` name no data set.

    Of several trials each has a seed of its own. Returns the trainer of the first.
    """
    chosen = {"trials": 1, "max_epochs": EPOCHS, "grace_epochs": EPOCHS} | (flags or {"train_images": 96})
    config = compose(None, None, chosen, [f"recipe.{assignment}" for assignment in recipe])
    layout = ResNetLayout(blocks, channels, in_channels=config.space.in_channels, classes=config.space.classes)
    fixed = config.recipe.fixed
    assert fixed is not None
    data = load_training_set(**config.data_arguments)
    sets = {"data": data.identity, "test_sha256": data.test_sha256, "image_format": data.format}
    write_run_file(folder, config, **sets)  # type: ignore[arg-type]
    with Record(folder) as record:
        start_session(record)
        trainers = [_train(record, folder, number, layout, fixed, data, config) for number in range(config.trials)]
    return trainers[0]


def _train(
    record: Record,
    folder: Path,
    number: int,
    layout: ResNetLayout,
    recipe: Recipe,
    data: TrainingSet,
    config: RunConfig,
) -> Trainer:
    """Trains and records the trial `number`, whose seed is that of the run plus its number."""
    seed = config.seed + number
    trainer = Trainer(layout, recipe, data, CPU, epochs=config.max_epochs, seed=seed, rungs=config.rungs)
    record.append(
        "suggested",
        trial=number,
        layout=layout.to_dict(),
        layout_id=layout.layout_id,
        params=count_params(layout),
        flops=count_flops(layout, config.space.image_size),
        depth=layout.depth,
        recipe=recipe.model_dump() | dict.fromkeys(recipe.unread) | {"epochs": config.max_epochs},
        seed=seed,
        proposal={},
    )
    while not trainer.finished:
        report = trainer.train_epoch()
        fields = {name: getattr(report, name) for name in REPORT_FIELDS}
        record.append("report", trial=number, session=1, **fields)
        trainer.save(checkpoint_path(folder, number))
    record.append("ended", trial=number, status="completed", error=None)
    return trainer


def evaluated(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of `search.evaluate` with `arguments`."""
    code = run_app(app, [str(argument) for argument in arguments], user_errors=(TrainablesError,))
    shown = capsys.readouterr()
    return code, shown.out, shown.err
