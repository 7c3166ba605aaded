"""Which epoch's weights a trial is evaluated with: its last one's, or those of its best validation accuracy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import save_file
from torch import Tensor

from model_zoo import ResNetLayout, build
from results import read_record, read_run
from search.config import RunConfig, compose
from search.errors import ConfigError
from search.evaluation.kept_network import load_kept
from search.evaluation.measure import measure
from search.runs import read_config
from search.runs.checkpoint_files import checkpoint_path
from search.runs.warm_start import first_candidates
from tests.search.runs.test_warm_start import FIVE, RUN, config, write
from tests.support.cli import ROOT
from tests.support.results_fixtures import RECIPE
from tests.support.trained_run import EPOCHS, UNSTEADY, evaluated, write_trained_run
from tests.support.training_fixtures import (
    CPU,
    LAYOUT,
    assert_same_bits,
    small_recipe,
    small_trainer,
    state_of,
    timeless,
)
from trainables.checkpoints import files as checkpoints
from trainables.errors import CheckpointError
from trainables.evaluation import answers
from trainables.recipe import Recipe
from trainables.training import Trainer

JUMPING: dict[str, Any] = {"schedule": "constant", "learning_rate": 0.1, "optimizer": "sgd"}
"""A recipe whose accuracy goes up and down, so that its best epoch is not its last."""


def trainer(keep: str) -> Trainer:
    return small_trainer(small_recipe(**JUMPING, keep_weights=keep), epochs=EPOCHS)


def written(path: Path) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in checkpoints.read(path)[1].items()}


def test_best_holds_the_network_as_it_was_after_its_best_epoch(tmp_path: Path) -> None:
    one, path = trainer("best"), tmp_path / "trial.safetensors"
    after: list[dict[str, Tensor]] = []
    accuracies = []
    while not one.finished:
        accuracies.append(one.train_epoch().val_accuracy)
        after.append({name: value.clone() for name, value in one.network.state_dict().items()})
        one.save(path)
        best = {name.removeprefix("best/"): v for name, v in written(path).items() if name.startswith("best/")}
        assert_same_bits(best, after[accuracies.index(max(accuracies))])
    first = accuracies.index(max(accuracies))
    assert 0 < first < EPOCHS - 1  # neither the first nor the last: the weights were replaced, and then kept
    assert {name for name in best if name.endswith(("running_mean", "num_batches_tracked"))}
    kept = load_kept(path, CPU)
    assert kept.epoch == first + 1
    assert_same_bits(dict(kept.network.state_dict()), after[first])
    given = answers(kept.network, one.images, one.labels, one.val_indices, one.mean, one.std, kept.precision)
    assert given.accuracy == max(accuracies)


def test_last_keeps_the_last_epoch_alone_and_trains_the_same(tmp_path: Path) -> None:
    last, best = trainer("last"), trainer("best")
    while not last.finished:
        assert timeless(last.train_epoch()) == timeless(best.train_epoch())
    assert_same_bits(state_of(last), state_of(best))
    last.save(tmp_path / "last")
    assert not any(name.startswith("best/") for name in written(tmp_path / "last"))
    kept = load_kept(tmp_path / "last", CPU)
    assert kept.epoch == EPOCHS
    assert_same_bits(dict(kept.network.state_dict()), dict(last.network.state_dict()))


@pytest.mark.parametrize("killed_after", range(1, EPOCHS))
def test_resumed_is_uninterrupted_to_the_last_bit(killed_after: int, tmp_path: Path) -> None:
    whole, path = trainer("best"), tmp_path / "trial.safetensors"
    while not whole.finished:
        whole.train_epoch()
    whole.save(tmp_path / "whole")
    killed = trainer("best")
    for _ in range(killed_after):
        killed.train_epoch()
        killed.save(path)
    resumed = trainer("best")
    resumed.load(path)
    path.unlink()  # what was loaded does not hang on the file
    while not resumed.finished:
        resumed.train_epoch()
    resumed.save(path)
    assert_same_bits(written(path), written(tmp_path / "whole"))


def test_a_checkpoint_without_its_best_weights_is_refused_before_anything_is_loaded(tmp_path: Path) -> None:
    one, path = trainer("best"), tmp_path / "trial.safetensors"
    one.train_epoch()
    one.save(path)
    header, tensors = checkpoints.read(path)
    whole = {name: value.clone() for name, value in tensors.items()}
    for damage in (
        {name: value for name, value in whole.items() if name != "best/head.bias"},
        whole | {"best/head.bias": torch.zeros(7)},
    ):
        save_file(damage, path, header)
        other = trainer("best")
        before = state_of(other)
        with pytest.raises(CheckpointError, match=r"'best/head\.bias' differs\); remove it"):
            other.load(path)
        assert_same_bits(state_of(other), before)
        with pytest.raises(CheckpointError, match=r"'best/head\.bias' differs"):
            load_kept(path, CPU)


def test_best_weights_alone_are_loaded_into_a_bare_network(tmp_path: Path) -> None:
    one, path = trainer("best"), tmp_path / "trial.safetensors"
    one.train_epoch()
    one.save(path)
    network = build(LAYOUT, seed=99)
    checkpoints.load_weights(path, network, best=True)
    assert_same_bits(dict(network.state_dict()), one.best_weights)
    with pytest.raises(CheckpointError, match="holds another network"):
        checkpoints.load_weights(path, build(ResNetLayout(LAYOUT.blocks, LAYOUT.channels, classes=7)), best=True)


def test_best_is_refused_where_epochs_cannot_be_compared() -> None:
    with pytest.raises(ValidationError, match=r"keep_weights: best given with rung-annealed, .*; set it to last or"):
        Recipe(keep_weights="best")
    with pytest.raises(ConfigError, match="keep_weights: best given with rung-annealed"):
        compose(None, None, {}, ["recipe.keep_weights=best", 'recipe.schedule=["cosine","rung-annealed"]'])


def test_a_search_for_it_is_refused_for_its_trials_would_be_repeats() -> None:
    for given in ('recipe.keep_weights=["last","best"]', 'recipe.families.k={a={keep_weights="best"},b={flip=true}}'):
        with pytest.raises(
            ConfigError, match=r"^recipe\.keep_weights: [a-z]+ and [a-z]+ given, but the choice .*; give one$"
        ):
            compose(None, None, {}, [given, "recipe.schedule=cosine"])


def test_an_earlier_run_warms_a_search_that_keeps_other_weights(tmp_path: Path) -> None:
    write(tmp_path / "old", FIVE, keep_weights=None, precision="float32", epochs=27)
    recipe = {name: value for name, value in RECIPE.items() if value is not None and name != "epochs"}
    recipe |= {"keep_weights": "best", "precision": "float32"}
    composed: RunConfig = config(RUN, "old", recipe=recipe, max_epochs=27, grace_epochs=27)
    points, left_out = first_candidates(composed, tmp_path)
    assert left_out == []
    assert {taken.keep_weights for _, taken in points} == {"best"}


def test_seed_a_evaluates_its_best_epoch_and_seed_b_its_last() -> None:
    def kept(name: str) -> set[str]:
        return {r.keep_weights for r in compose(ROOT / "configs" / f"{name}.toml", None, {}, []).recipe.in_order()}

    assert kept("arora") == kept("arora-one-cycle") == {"best"}
    assert kept("cerberus") == {"last"}


def test_the_evaluation_measures_the_best_epoch_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "a"
    best = write_trained_run(folder, *UNSTEADY, "keep_weights=best").last_report
    assert best is not None
    assert best.best_epoch < best.epoch
    code, shown, stderr = evaluated(capsys, folder)
    assert (code, stderr) == (0, "")
    assert f"with the weights of epoch {best.best_epoch}, its best, (validation {best.best_accuracy:.2%})" in shown
    trial = read_record(folder).trials[0]
    assert (trial.test_epoch, trial.val_accuracy) == (best.best_epoch, best.val_accuracy)  # ranked by its last epoch
    arguments = read_config(folder).data_arguments
    again = measure(checkpoint_path(folder, 0), 0, arguments)
    assert (again.test_accuracy, again.test_loss, again.epoch) == (
        trial.test_accuracy,
        trial.test_loss,
        best.best_epoch,
    )
    (row,) = read_run(folder).trials.to_pylist()
    assert (row["test_epoch"], row["recipe_keep_weights"]) == (best.best_epoch, "best")
    assert evaluated(capsys, folder) == (0, shown, "")  # from the record
    other = tmp_path / "b"
    last = write_trained_run(other, *UNSTEADY).last_report
    assert last is not None
    assert f"with the weights of epoch {EPOCHS} (validation {last.val_accuracy:.2%})" in evaluated(capsys, other)[1]
    assert read_record(other).trials[0].test_accuracy != trial.test_accuracy
