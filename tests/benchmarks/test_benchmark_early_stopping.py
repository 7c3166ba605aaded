"""The stopping benchmark: picks judged, errors estimated, curves trained once and gone on with."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.early_stopping.comparison import main, orders_of
from benchmarks.early_stopping.curves import (
    SCHEDULES,
    SETUPS,
    Curve,
    Setup,
    complete,
    pool,
    read_curves,
    split,
    train_curve,
)
from benchmarks.early_stopping.replays import (
    OURS,
    STRATEGIES,
    Estimate,
    correlations,
    outcomes,
    picks,
    pools_of,
    rank_correlation,
    replayed,
    together,
)
from benchmarks.early_stopping.strategies import full_trainings, halving, short_then_top
from model_zoo import ResNetLayout
from search.layouts import LayoutSpace
from tests.support.early_stopping_fixtures import HAND, HAND_SETUP, hand_pool, shifted
from trainables.data import TrainingSet, load_training_set
from trainables.recipe import Recipe

torch.set_num_threads(1)  # beside another busy process a step of two threads on two cores takes 50 times as long


def spearmans(one: Iterable[float], other: Iterable[float]) -> float:
    """Spearman's rank correlation as pandas has it."""
    return float(pd.DataFrame({"one": list(one), "other": list(other)}).corr(method="spearman").to_numpy()[0, 1])


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=2, max_size=20))
def test_the_rank_correlation_is_spearmans(pairs: list[tuple[int, int]]) -> None:
    one, other = ({i: pair[side] / 7 for i, pair in enumerate(pairs)} for side in (0, 1))
    found = rank_correlation(one, dict(reversed(other.items())))
    if len(set(one.values())) == 1 or len(set(other.values())) == 1:
        assert found == 0.0
    else:
        assert found == pytest.approx(spearmans(one.values(), other.values()))


@given(st.lists(st.floats(0, 1), min_size=2, max_size=9))
def test_the_jackknife_of_a_mean_is_its_standard_error(values: list[float]) -> None:
    without = [float(np.mean(values[:i] + values[i + 1 :])) for i in range(len(values))]
    error = pd.Series(values).sem()
    assert tuple(Estimate.jackknifed(7.0, without)) == pytest.approx((7.0, error))
    assert tuple(Estimate.of_mean(values)) == pytest.approx((np.mean(values), error))


def test_a_single_pool_has_no_standard_error() -> None:
    assert math.isnan(Estimate.of_mean([1.0]).standard_error)
    assert math.isnan(Estimate.jackknifed(1.0, []).standard_error)


def test_a_pick_is_worth_its_final_accuracy_in_its_strategys_own_schedule() -> None:
    pool = hand_pool()
    assert pool.truth == pytest.approx({0: 0.5, 1: 0.7, 2: 0.7, 3: 0.5})
    found = picks(pool, HAND_SETUP, 12, 1, [0, 1, 2, 3])
    cosine = pool.curves["cosine"]
    assert found == {
        OURS: halving(HAND, [0, 1, 2, 3], (1, 2, 4), 2, 12),
        "ASHA, one cosine": halving(cosine, [0, 1, 2, 3], (1, 2, 4), 2, 12),
        "full trainings": full_trainings(cosine, [0, 1, 2, 3], 12),
        "short, then the top": short_then_top({n: c[:1] for n, c in HAND.items()}, cosine, [0, 1, 2, 3], 12),
    }
    assert list(found) == list(STRATEGIES)
    table = outcomes(pool, HAND_SETUP, 12, 1, [[0, 1, 2, 3]])
    assert found[OURS].layout == 2
    ours = {column: table[OURS, column] for column in ("validation", "held out", "truth", "epochs")}
    assert ours == pytest.approx({"validation": 0.6, "held out": 0.6, "truth": 0.7, "epochs": 11})
    assert found["full trainings"].layout == 2  # 0.7, 0.6 and 0.9 in the first three
    assert table["full trainings", "validation"] == pytest.approx(0.9)
    assert table["full trainings", "held out"] == pytest.approx(0.8)
    assert table["ours ahead of full trainings", "validation"] == pytest.approx(-0.3)
    assert table["any layout", "truth"] == pytest.approx(0.6)
    assert table["the best layout", "truth"] == pytest.approx(0.7)


def test_pools_are_replayed_together_and_each_left_out_for_the_error() -> None:
    pools = [hand_pool(), shifted(hand_pool(), 4), shifted(hand_pool(), 8)]
    orders = orders_of(12, 6)
    found = replayed(pools, HAND_SETUP, 12, 1, orders)
    assert {cell: figure.value for cell, figure in found.items()} == outcomes(
        together(pools), HAND_SETUP, 12, 1, orders
    )
    without = [together([pools[1], pools[2]]), together([pools[0], pools[2]]), together([pools[0], pools[1]])]
    tables = [
        outcomes(pool, HAND_SETUP, 12, 1, [[n for n in order if n in pool.truth] for order in orders])
        for pool in without
    ]
    values = np.array([table[OURS, "truth"] for table in tables])
    variance = (len(pools) - 1) / len(pools) * ((values - values.mean()) ** 2).sum()
    assert found[OURS, "truth"].standard_error == pytest.approx(math.sqrt(variance))


def test_outcomes_are_means_over_the_orders_of_arrival() -> None:
    pool, orders = hand_pool(), orders_of(4, 5)
    single = [outcomes(pool, HAND_SETUP, 8, 2, [order]) for order in orders]
    together = outcomes(pool, HAND_SETUP, 8, 2, orders)
    assert together == pytest.approx({cell: np.mean([table[cell] for table in single]) for cell in together})
    assert orders == orders_of(4, 5)
    assert all(sorted(order) == [0, 1, 2, 3] for order in orders)
    assert len({tuple(order) for order in orders}) > 1


def test_correlations_compare_a_rung_with_the_end_and_with_the_other_schedule() -> None:
    pool = hand_pool()
    found = correlations(pool, HAND_SETUP)
    at_two = [HAND[n][1] for n in HAND]
    expected = {
        "own final": spearmans(at_two, [HAND[n][3] for n in HAND]),
        "truth": spearmans(at_two, pool.truth.values()),
        "other schedule": spearmans(at_two, pool.held_out["cosine"].values()),
    }
    assert {name: found["rung 2, rung-annealed", name] for name in expected} == pytest.approx(expected)
    assert found["rung 4, cosine", "own final"] == pytest.approx(1.0)
    both = found["rung 2, rung-annealed", "truth"], found["rung 2, cosine", "truth"]
    assert found["rung 2, difference", "truth"] == both[0] - both[1]
    assert len(found) == (len(SCHEDULES) + 1) * len(HAND_SETUP.rungs) * len(expected)


TINY = Setup(
    dataset="digits",
    train_images=40,
    val_images=30,
    held_out_images=20,
    rungs=(1, 3),
    reduction_factor=3,
    space=LayoutSpace(
        stages=(2,), blocks=(1, 2), channels=(8, 12), first_strides=(2,), in_channels=1, min_params=0, max_params=20_000
    ),
    recipe=Recipe(batch_size=16, precision="float32"),
)


@pytest.fixture(scope="module", autouse=True)
def _data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PARAMBUDGET_DATA", str(tmp_path_factory.mktemp("data")))
        yield


def tiny_data(setup: Setup) -> tuple[TrainingSet, torch.Tensor]:
    return split(setup, load_training_set(setup.dataset, train_images=setup.train_images))


def test_the_images_that_decide_and_those_held_out_are_not_trained_on() -> None:
    data, held_out = tiny_data(TINY)
    parts = data.train_indices, data.val_indices, held_out.numpy()
    assert [len(part) for part in parts] == [TINY.train_images, TINY.val_images, TINY.held_out_images]
    together = np.concatenate(parts)
    assert len(set(together.tolist())) == len(together)
    assert set(together.tolist()) <= set(range(len(data.labels)))
    rest = len(data.labels) - TINY.train_images
    with pytest.raises(ValueError, match=rf"{rest + 1:,} given, but only {rest:,} images are not trained on; lower"):
        tiny_data(replace(TINY, val_images=rest + 1 - TINY.held_out_images))


def test_a_short_training_is_the_rung_annealed_one_up_to_its_first_rung() -> None:
    setup = replace(TINY, rungs=(2, 3))
    layout = pool(setup, 0, 1, [])[0]
    annealed = train_curve(setup, *tiny_data(setup), 0, 0, layout, "rung-annealed")
    short = train_curve(replace(setup, rungs=(2,)), *tiny_data(setup), 0, 0, layout, "cosine")
    assert annealed.val_accuracy[:2] == short.val_accuracy
    assert len(annealed.val_accuracy) == 3


def test_a_diverged_training_counts_as_nothing_right() -> None:
    setup = replace(TINY, recipe=TINY.recipe.model_copy(update={"learning_rate": 1e30}))
    curve = train_curve(setup, *tiny_data(setup), 0, 0, pool(setup, 0, 1, [])[0], "cosine")
    assert curve.val_accuracy == (0.0, 0.0, 0.0)
    assert curve.held_out_accuracy == 0.0


def test_pools_are_distinct_feasible_layouts_and_grow_without_changing() -> None:
    layouts = pool(TINY, 3, 5, [])
    assert len(set(layouts)) == 5
    assert all(TINY.space.contains(layout) for layout in layouts)
    assert pool(TINY, 3, 2, []) == layouts[:2]
    assert pool(TINY, 4, 5, []) != layouts
    with pytest.raises(ValueError, match=r"layouts: 1,000 given, but the space has \d+; lower it"):
        pool(TINY, 3, 1_000, [])


def test_an_interrupted_store_goes_on_where_it_was_and_keeps_its_pools(tmp_path: Path) -> None:
    whole = complete(TINY, tmp_path / "whole.jsonl", 2, 2)
    lines = (tmp_path / "whole.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    assert len(lines) == 1 + 2 * 2 * len(SCHEDULES)
    cut = tmp_path / "cut.jsonl"
    cut.write_text("".join(lines[:4]) + lines[4][:30], encoding="utf-8")
    gone_on = complete(TINY, cut, 2, 2)
    assert [replace(curve, train_time_s=0) for curve in gone_on] == [replace(curve, train_time_s=0) for curve in whole]
    assert gone_on[:3] == whole[:3]  # with the seconds of the first time: they were not trained again
    assert read_curves(TINY, cut) == gone_on
    grown = complete(TINY, cut, 2, 3)
    stored = {(curve.seed, curve.number): curve.layout for curve in whole}
    assert {key: layout for key, layout in _layouts(grown).items() if key in stored} == stored
    assert len(_layouts(grown)) == 6
    assert complete(TINY, cut, 1, 1) == whole[: len(SCHEDULES)]


def _layouts(curves: list[Curve]) -> dict[tuple[int, int], ResNetLayout]:
    return {(curve.seed, curve.number): curve.layout for curve in curves}


def test_a_store_of_another_setup_is_refused(tmp_path: Path) -> None:
    store = tmp_path / "curves.jsonl"
    store.write_text(json.dumps(replace(TINY, rungs=(2, 3)).to_dict()) + "\n", encoding="utf-8")
    with pytest.raises(ValueError, match="trained with another setup than that of digits now; give another file"):
        read_curves(TINY, store)


def test_the_command_trains_compares_and_ends_with_one_json_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(SETUPS, "tiny", TINY)
    store = tmp_path / "curves.jsonl"
    command = ["--dataset", "tiny", "--seeds", "2", "--layouts", "3", "--store", str(store)]
    main([*command, "--budgets", "2", "--workers", "1", "--orders", "4"])
    output = capsys.readouterr()
    last = json.loads(output.out.splitlines()[-1])
    curves = complete(TINY, store, 2, 3)
    assert len(curves) == 2 * 3 * len(SCHEDULES)
    assert output.err.count("\n") == len(curves)
    found = replayed(pools_of(curves), TINY, 2 * TINY.rungs[-1], 1, orders_of(6, 4))
    figures = last["2 full trainings, ASHA with 1 at a time"]
    assert {f"{row}, {column}": list(figure) for (row, column), figure in found.items()} == figures
    assert last["setup"] == TINY.to_dict()
    assert f"| {OURS} |" in output.out
    with pytest.raises(SystemExit) as stop:
        main([*command, "--budgets", "1"])
    assert stop.value.code == 2
    assert "a short and a full training have 4; raise it" in capsys.readouterr().err
