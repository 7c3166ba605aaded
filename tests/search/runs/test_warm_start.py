"""What is tried first: presets and the best trials of earlier runs, as far as the space holds them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from model_zoo import PRESETS, ResNetLayout, count_params
from results import Record, RunState
from search.config import RunConfig
from search.config.composition import validated
from search.errors import ConfigError
from search.planning.preparation import prepare
from search.runs.warm_start import candidate_from_dict, candidate_to_dict, first_candidates
from search.sampling import JointSpace
from search.sampling.study import RunStudy
from tests.support.results_fixtures import RECIPE, report, run_trial, start_session, suggestion

NEAR: dict[str, Any] = {"stages": [3, 4], "min_params": 4_500_000, "max_params": 5_000_000}
"""A space that holds some presets."""
RUN: dict[str, Any] = {"stages": [2, 3], "blocks": [1, 9], "channels": [16, 32, 64], "min_params": 0}
"""A space that holds the layouts of `write`."""


def config(space: dict[str, Any], *names: str, **others: Any) -> RunConfig:
    return validated(
        {"dataset": "cifar10", "space": space, "warm_start": list(names), "max_epochs": 27, "grace_epochs": 3} | others
    )


def write(folder: Path, accuracies: dict[tuple[int, ...], float], **recipe: Any) -> list[ResNetLayout]:
    """A run with a trial for each of these blocks; returns the layouts, best first."""
    with Record(folder) as record:
        start_session(record)
        for trial, (blocks, accuracy) in enumerate(accuracies.items()):
            fields = suggestion(trial, blocks)
            record.append("suggested", **fields | {"recipe": fields["recipe"] | recipe})
            record.append("report", **report(trial, 2, 1, accuracy))
            record.append("ended", trial=trial, status="completed", error=None)
        # One without an annealed accuracy is never the best.
        record.append("suggested", **suggestion(len(accuracies), (9, 9)))
        record.append("report", **report(len(accuracies), 1, None, 0.99))
    best = sorted(accuracies, key=lambda blocks: -accuracies[blocks])
    return [ResNetLayout.from_dict(suggestion(0, blocks)["layout"]) for blocks in best]


FIVE = {(1, 2): 0.5, (2, 2): 0.8, (1, 1, 1): 0.9, (3, 1): 0.6, (1, 3): 0.7}


def test_presets_inside_the_space_come_first_and_others_are_named_with_the_reason(tmp_path: Path) -> None:
    composed = config(NEAR | {"predicate": "tests.support.zoo_fixtures.even"}, *PRESETS)
    points, left_out = first_candidates(composed, tmp_path)
    feasible = [name for name, layout in PRESETS.items() if composed.space.contains(layout)]
    assert [layout for layout, _ in points] == [PRESETS[name] for name in feasible]
    assert {recipe for _, recipe in points} == {composed.recipe.decode({})}
    assert 0 < len(feasible) < len(PRESETS) - 3
    sentences = iter(left_out)
    for name, layout in PRESETS.items():
        if name in feasible:
            continue
        sentence = next(sentences)
        assert sentence.startswith(f"warm start: {name} left out, ")
        params = count_params(layout)
        if not 4_500_000 <= params <= 5_000_000:
            assert sentence.endswith(f"{params:,} parameters are outside 4,500,000 to 5,000,000")
        elif not composed.space.offers(layout):
            assert f"the space does not offer {layout.layout_id}; to try it, " in sentence
        else:
            assert sentence.endswith(f"a limit or the predicate of the space rejects {layout.layout_id}")
    assert next(sentences, None) is None
    for reason in ("parameters are outside", "does not offer", "predicate of the space rejects"):
        assert any(reason in sentence for sentence in left_out)


def test_a_preset_takes_the_channels_and_the_classes_of_the_images(tmp_path: Path) -> None:
    space = {"channels": [64, 128, 256], "blocks": [1, 5], "min_params": 0, "max_params": 10**7}
    composed = config(space, "cerberus-resnet24", dataset="digits")
    (point,), _ = first_candidates(composed, tmp_path)
    facts = {"in_channels": composed.space.in_channels, "classes": composed.space.classes}
    assert point[0] == dataclasses.replace(PRESETS["cerberus-resnet24"], **facts)  # type: ignore[arg-type]
    assert composed.space.in_channels == 1


@pytest.mark.parametrize(("name", "number"), [("earlier", 3), ("earlier:2", 2), ("earlier:9", 5), ("earlier:1", 1)])
def test_the_best_trials_of_a_run_come_first(name: str, number: int, tmp_path: Path) -> None:
    best = write(tmp_path / "earlier", FIVE)
    points, _ = first_candidates(config(RUN, name), tmp_path)
    assert [layout for layout, _ in points] == best[:number]
    elsewhere, _ = first_candidates(config(RUN, str(tmp_path / name)), tmp_path / "other")
    assert elsewhere == points


def test_of_replicates_the_best_stands_for_all(tmp_path: Path) -> None:
    accuracies = [((1, 2), 0.9), ((2, 2), 0.8), ((1, 2), 0.5), ((2, 2), 0.7)]
    with Record(tmp_path / "earlier") as record:
        start_session(record)
        for trial, (blocks, accuracy) in enumerate(accuracies):
            run_trial(record, trial, {4: accuracy}, blocks=blocks)
    points, _ = first_candidates(config(RUN, "earlier"), tmp_path)
    assert [layout.blocks for layout, _ in points] == [(1, 2), (2, 2)]  # by 0.9 and 0.8, not by 0.5 and 0.7


def test_no_trial_of_a_run_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "earlier", FIVE)
    with pytest.raises(ConfigError, match=r"'earlier:0' takes no trial; use at least earlier:1"):
        first_candidates(config(RUN, "earlier:0"), tmp_path)


def test_what_is_named_twice_is_tried_once(tmp_path: Path) -> None:
    best = write(tmp_path / "earlier", FIVE)
    points, _ = first_candidates(config(RUN, "earlier:2", "earlier"), tmp_path)
    assert [layout for layout, _ in points] == best[:3]


def test_a_trial_keeps_its_recipe_where_the_space_of_recipes_has_it(tmp_path: Path) -> None:
    write(tmp_path / "earlier", {(1, 2): 0.5}, step_epochs=None, patience_epochs=None)
    table = {name: [value] for name, value in RECIPE.items() if value is not None and name not in ("epochs",)}
    table |= {"patience_epochs": 0, "momentum": [0.5, 0.9], "optimizer": ["nesterov", "sgd"]}
    composed = config(RUN, "earlier", recipe=table, seed=4)
    ((_, recipe),), left_out = first_candidates(composed, tmp_path)
    assert left_out == []
    assert (recipe.optimizer, recipe.momentum, recipe.schedule) == ("sgd", 0.9, "cosine")
    assert recipe == recipe.canonical()


def test_a_recipe_that_the_space_lacks_is_the_usual_one_and_a_sentence_says_which_field(tmp_path: Path) -> None:
    (layout,) = write(tmp_path / "earlier", {(1, 2): 0.5})
    composed = config(RUN, "earlier", recipe={"learning_rate": [0.05, 0.2]})
    points, left_out = first_candidates(composed, tmp_path)
    assert points == [(layout, composed.recipe.decode({}))]
    (sentence,) = left_out
    start = "warm start: earlier trial 0 gets the default recipe; its own cannot be used: "
    assert sentence.startswith(start)
    field, _, rest = sentence.removeprefix(start).partition(" ")
    assert str(RECIPE[field]) in rest


def test_a_recipe_that_contradicts_the_epochs_of_now_is_the_usual_one(tmp_path: Path) -> None:
    (layout,) = write(tmp_path / "earlier", {(1, 2): 0.5}, warmup_epochs=10.0, cosine_epochs=0)
    composed = config(RUN, "earlier", max_epochs=8)
    points, (sentence,) = first_candidates(composed, tmp_path)
    assert points == [(layout, composed.recipe.decode({}))]
    assert sentence.endswith("its own cannot be used: warmup_epochs: 10 given for 8 epochs; use less than 8")


def test_a_recipe_that_contradicts_the_images_of_now_is_the_usual_one(tmp_path: Path) -> None:
    (layout,) = write(tmp_path / "earlier", {(1, 2): 0.5}, first_image_size=40, resizing_share=0.5)
    composed = config(RUN, "earlier")
    points, (sentence,) = first_candidates(composed, tmp_path)
    assert points == [(layout, composed.recipe.decode({}))]
    assert sentence.endswith("first_image_size: 40 given, the images have 32x32 pixels; use less than 32, or 0")


def test_infeasible_trials_are_left_out_by_their_numbers(tmp_path: Path) -> None:
    write(tmp_path / "earlier", FIVE)
    points, left_out = first_candidates(config(RUN | {"stages": [2]}, "earlier"), tmp_path)
    assert [layout.stages for layout, _ in points] == [2, 2]
    lacking = "the space does not offer 1-1-1x16-32-64; to try it, add 3 to space.stages"
    assert f"warm start: earlier trial 2 left out, {lacking}" in left_out


def test_a_name_that_is_neither_preset_nor_run_is_refused(tmp_path: Path) -> None:
    for name in ("resnet-1000", "earlier:3"):
        with pytest.raises(ConfigError, match=f"warm_start: '{name}' is neither a preset .*arora-resnet10.* nor a run"):
            first_candidates(config(NEAR, name), tmp_path)


@pytest.mark.parametrize("number", ["x", "1.5", "-1", ""])
def test_a_number_of_trials_that_is_no_whole_number_is_refused(number: str, tmp_path: Path) -> None:
    message = f"'earlier:{number}' given; the N of RUN:N is a whole number of trials from 1, not '{number}'; "
    with pytest.raises(ConfigError, match=f"{message}write earlier:3, or earlier alone"):
        first_candidates(config(NEAR, f"earlier:{number}"), tmp_path)


def test_points_survive_json_and_are_the_first_that_a_study_is_asked_for(tmp_path: Path) -> None:
    write(tmp_path / "earlier", FIVE)
    composed = config(RUN | {"max_params": 10**7}, "earlier", "cerberus-resnet24")
    points, _ = first_candidates(composed, tmp_path)
    stored = [candidate_from_dict(json.loads(json.dumps(candidate_to_dict(point)))) for point in points]
    assert stored == points
    history = RunStudy(JointSpace(composed.space, composed.recipe), "tpe", 0, RunState(), first=stored)
    asked = [history.ask() for _ in range(6)]
    assert [trial.candidate for trial in asked[: len(points)]] == points
    assert len({trial.candidate.layout for trial in asked}) == 6


def test_a_layout_that_this_version_cannot_build_is_left_out_with_the_reason(tmp_path: Path) -> None:
    write(tmp_path / "earlier", FIVE)
    path = tmp_path / "earlier" / "record.jsonl"
    path.write_text(path.read_text().replace('"block":"basic"', '"block":"of-tomorrow"', 1))
    points, left_out = first_candidates(config(RUN, "earlier:9"), tmp_path)
    assert len(points) == len(FIVE) - 1
    (sentence,) = [sentence for sentence in left_out if "left out" in sentence]
    assert "this version has no such layout" in sentence
    assert "of-tomorrow" in sentence


def test_a_layout_that_the_space_lacks_comes_with_the_keys_that_would_offer_it(tmp_path: Path) -> None:
    (layout,) = write(tmp_path / "earlier", {(1, 2): 0.5})
    narrow = {"stages": [3], "blocks": [2, 2], "channels": [64], "kernels": [5], "min_params": 0}
    _, (sentence,) = first_candidates(config(narrow, "earlier"), tmp_path)
    assert "add 2 to space.stages and add 16, 32 to space.channels and add 3 to space.kernels" in sentence
    wide = narrow | {"stages": [2, 3], "blocks": [1, 2], "channels": [16, 32, 64], "kernels": [3, 5]}
    assert [found for found, _ in first_candidates(config(wide, "earlier"), tmp_path)[0]] == [layout]


@pytest.mark.parametrize(
    "changed", [{"channels": [24, 48]}, {"blocks": [4, 9], "max_params": 5_000_000}, {"kernels": [5]}]
)
def test_a_warm_start_of_which_nothing_fits_is_refused(changed: dict[str, Any], tmp_path: Path) -> None:
    write(tmp_path / "earlier", {(1, 2): 0.5})
    composed = config(RUN | {"max_params": 5_000_000} | changed, "earlier", sampler="random")
    with pytest.raises(
        ConfigError,
        match=r"^warm_start: no layout of it can be tried: earlier trial 0 left out, the space does not offer",
    ):
        prepare(composed, tmp_path / "new", RunState(), tmp_path, None, say=print)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (b'{"event"', b'{"happening"'),
        (b'"layout":{', b'"layout":{"attention":1,'),
        (b'"recipe":{', b'"recipe":{"lion":true,'),
        (b"\n", b"\xff\n"),
    ],
)
def test_a_run_of_which_this_version_reads_no_trial_is_one_line(ours: bytes, theirs: bytes, tmp_path: Path) -> None:
    write(tmp_path / "earlier", FIVE)
    path = tmp_path / "earlier" / "record.jsonl"
    path.write_bytes(path.read_bytes().replace(ours, theirs))
    for names in (["earlier"], ["arora-resnet10", "earlier:1"]):
        with pytest.raises(ConfigError) as caught:
            first_candidates(config(RUN, *names), tmp_path)
        said = str(caught.value)
        assert said.startswith(f"warm_start: {names[-1]!r} has no trial that this version can read (")
        assert said.endswith("); name another run")
        assert "\n" not in said
