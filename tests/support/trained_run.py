"""A run on digits whose one trial was trained here, without Ray: what `search.evaluate` opens, in a second."""

from __future__ import annotations

from pathlib import Path

import pytest

from model_zoo import ResNetLayout, count_flops, count_params
from results import Record
from results.console import run_app
from search.config import compose
from search.driver.searcher import REPORT_FIELDS
from search.evaluate import app
from search.runs.checkpoint_files import checkpoint_path
from search.runs.folder import write_run_file
from tests.support.results_fixtures import start_session
from tests.support.training_fixtures import CPU
from trainables.data import load_training_set
from trainables.errors import TrainablesError
from trainables.training import Trainer

EPOCHS = 6
TINY = ResNetLayout((1, 1), (8, 8), in_channels=1)
UNSTEADY = ("optimizer=sgd", "schedule=constant", "learning_rate=0.05", "batch_size=8", "precision=float32")
"""A rate too high to be trained well by: the accuracy jumps, and the best epoch is not the last."""


def write_trained_run(folder: Path, *recipe: str) -> Trainer:
    """Trains `TINY` on 96 digits by `recipe` and writes the run's folder; returns its trainer."""
    flags = {"trials": 1, "max_epochs": EPOCHS, "grace_epochs": EPOCHS, "train_images": 96}
    config = compose(None, None, flags, [f"recipe.{assignment}" for assignment in recipe])
    fixed = config.recipe.fixed
    assert fixed is not None
    write_run_file(folder, config)
    data = load_training_set(**config.data_arguments)
    trainer = Trainer(TINY, fixed, data, CPU, epochs=config.max_epochs, seed=config.seed, rungs=config.rungs)
    with Record(folder) as record:
        start_session(record)
        record.append(
            "suggested",
            trial=0,
            layout=TINY.to_dict(),
            layout_id=TINY.layout_id,
            params=count_params(TINY),
            flops=count_flops(TINY, config.space.image_size),
            depth=TINY.depth,
            recipe=fixed.model_dump() | dict.fromkeys(fixed.unread) | {"epochs": config.max_epochs},
            seed=config.seed,
            proposal={},
        )
        while not trainer.finished:
            report = trainer.train_epoch()
            fields = {name: getattr(report, name) for name in REPORT_FIELDS}
            record.append("report", trial=0, session=1, **fields)
            trainer.save(checkpoint_path(folder, 0))
        record.append("ended", trial=0, status="completed", error=None)
    return trainer


def evaluated(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of `search.evaluate` with `arguments`."""
    code = run_app(app, [str(argument) for argument in arguments], user_errors=(TrainablesError,))
    shown = capsys.readouterr()
    return code, shown.out, shown.err
