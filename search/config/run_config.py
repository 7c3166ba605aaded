"""The configuration of a run: one frozen model."""

from __future__ import annotations

import re
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticKnownError

from results.record.trial_state import Limits
from search.config.views import Budgets, Ladder, Resources
from search.layouts import LayoutSpace
from search.layouts.chains import size_problems
from search.layouts.dimensions import layout_bounds
from search.recipes import RecipeSpace
from trainables.data import dataset_info
from trainables.data.datasets import DatasetInfo
from trainables.data.splits import TEST_FRACTION, VAL_FRACTION
from trainables.process_settings import Compile
from trainables.schedule import rung_epochs


def _known_sampler(given: Any) -> Any:
    # Optuna is imported in search.sampling alone, where the names of its samplers are checked.
    if not isinstance(given, str) or not re.fullmatch(r"tpe|gp|random|grid|optuna:\w+", given):
        raise PydanticKnownError("literal_error", {"expected": "tpe, gp, random, grid or optuna:NAME"})
    return given


SamplerName = Annotated[Literal["tpe", "gp", "random", "grid"] | str, BeforeValidator(_known_sampler)]


def _read_share(value: Any) -> Any:
    try:
        if value == "auto" or (not isinstance(value, bool) and 0 <= float(value) <= 1):
            return value if value == "auto" else float(value)
    except (TypeError, ValueError):
        pass
    raise ValueError(f"{value!r} given; use 0 to 1, which is the share of one GPU, or auto")


HeldOut = Annotated[float, Field(gt=0, le=0.5)]
GpuShare = Annotated[Annotated[float, Field(ge=0, le=1)] | Literal["auto"], BeforeValidator(_read_share)]


class RunConfig(BaseModel):
    """Everything that decides what a run does; `run.json` keeps it.

    Raises:
        pydantic.ValidationError: values outside their range or that contradict each other; it lists all problems.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    dataset: str = "digits"
    """Data set: digits, cifar10, cifar100, svhn, fashion-mnist, mnist, or the path of a folder of class folders."""
    data_dir: str | None = None
    """Folder of the prepared data sets; by default the user's cache folder."""
    image_size: Annotated[int, Field(ge=8, le=512)] | None = None
    """Side in pixels to which the images of an image folder are resized; 32 by default."""
    train_images: Annotated[int, Field(ge=2)] | None = None
    """Train on a stratified subset of this many images; the validation images stay the same."""
    split_seed: Annotated[int, Field(ge=0)] = 0
    """Seed of the validation split and of the subset."""
    validation_share: HeldOut = VAL_FRACTION
    """Share of the training images that is the validation split, which ranks the trials; without effect where the image
    folder has its own val/."""
    test_share: HeldOut = TEST_FRACTION
    """Share of the images that becomes the test set; without effect where the data set has its own, as all but digits
    and image folders without test/."""
    val_folder: bool = True
    """Whether the val/ of an image folder is its validation split; false leaves it out."""
    all_data: bool = False
    """Whether to train on the validation images too, for a run of one layout and recipe; then no accuracy is measured
    before the final evaluation, and nothing is chosen."""
    refit_of: str = ""
    """The trial, as RUN:TRIAL, that search.refit trains again in this run; empty for a search."""
    trials: Annotated[int, Field(ge=1, le=1_000_000)] = 100
    """Number of trainings in total, replicates included."""
    replicates: Annotated[int, Field(ge=1, le=1000)] = 1
    """How many times each layout is trained with each recipe, every time with a different seed."""
    validation_splits: Annotated[int, Field(ge=1, le=1000)] = 1
    """Train each replicate on another validation split and rank by means over them; replicates is at least as many."""
    warm_start: tuple[str, ...] = ()
    """What to try first: presets by name, and earlier runs, whose best three are taken (RUN:N takes the best N)."""
    reuse: tuple[str, ...] = ()
    """Earlier runs whose results replace trainings with the same layout, recipe, seed, data and rungs."""
    max_epochs: Annotated[int, Field(ge=1, le=100_000)] = 72
    """Epochs of a trial that is never stopped; the last rung."""
    grace_epochs: Annotated[int, Field(ge=1)] = 8
    """Epochs before a trial may be stopped; the first rung. The default is lowered to max_epochs if that is lower."""
    reduction_factor: Annotated[int, Field(ge=2, le=100)] = 3
    """ASHA's eta, N: the best 1/N of the trials pass a rung, and each rung is N times the epochs of the one before."""
    earlier_max_epochs: tuple[Annotated[int, Field(ge=1)], ...] = ()
    """Other values that max_epochs has had in this run, ascending; each stays a rung."""
    sampler: SamplerName = "tpe"
    """How trials are proposed: tpe and gp learn from earlier ones, gp by a Gaussian process, random draws uniformly,
    grid takes every combination in order, and optuna:NAME is one of Optuna's samplers, such as optuna:CmaEsSampler."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """Seed of the sampler and of every training."""
    concurrency: Annotated[int, Field(ge=1)] | None = None
    """Trials at a time; by default as many as the resources allow."""
    cpus_per_trial: Annotated[int, Field(ge=1)] = 1
    """CPU cores per trial; a trial runs as many threads."""
    gpus_per_trial: GpuShare = 0.0
    """GPUs per trial, at most 1; 0.5 lets two share one, auto as many as fit its memory and still raise throughput."""
    compile: Compile = "auto"
    """Whether the residual blocks are compiled: blocks or off; auto compiles them where that is known to be faster."""
    time_budget_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """Stop after this time, in seconds or as 1h30m; the run can be resumed, with the same budget again."""
    epoch_budget: Annotated[int, Field(ge=1)] | None = None
    """Stop when the trials of the run have trained this many epochs in total; the run can be resumed with more."""
    max_retries: Annotated[int, Field(ge=0, le=100)] = 3
    """How often a trial is restarted from its checkpoint after its process or node died."""
    fail_fast: Annotated[int, Field(ge=0)] = 3
    """Stop when the first N trials of a session all fail with the same error; 0 turns this off."""
    confirm: Annotated[int, Field(ge=0, le=1000)] = 3
    """When all trials have ended, train at most this many of those stopped early to the end: the best whose accuracies'
    95% intervals overlap that of the best trial. 0 confirms none."""
    keep_checkpoints: Annotated[int, Field(ge=1)] = 3
    """Number of finished trials whose checkpoints are kept; the best ones. Those to confirm keep theirs until then."""
    disk_quota: Annotated[int, Field(ge=1, le=2**62)] | None = None
    """Largest size of the run's folder in bytes or as 750M or 20G; by default the disk is the limit."""
    space: LayoutSpace = LayoutSpace()
    """Which layouts are searched: the choices for each field of a layout, and limits on its size."""
    recipe: RecipeSpace = RecipeSpace()
    """How layouts are trained. Each field is a value, a list of choices or, for a number, a range such as
    {low = 0.01, high = 0.5, log = true} (or step = ...). Fields with several values are searched with the layout."""

    @model_validator(mode="after")
    def _sense(self) -> RunConfig:
        problems = []
        if self.grace_epochs > self.max_epochs:
            problems.append(
                f"grace_epochs: {self.grace_epochs} exceeds max_epochs ({self.max_epochs}); "
                "lower it or raise max_epochs"
            )
        if self.seed + self.replicates > 2**31:
            problems.append(
                f"seed: {self.seed} leaves too few seeds above it for {self.replicates} replicates; "
                f"use at most {2**31 - self.replicates}"
            )
        if self.all_data:
            problems += self._judged_without_images()
        if self.replicates < self.validation_splits:
            problems.append(
                f"replicates: {self.replicates} given, but {self.validation_splits} validation_splits need a training "
                "each; raise replicates or lower validation_splits"
            )
        if self.sampler == "grid" and self.recipe.size is None:
            ranges = ", ".join(f"recipe.{name}" for name in self.recipe.continuous)
            problems.append(f"sampler: grid cannot list every value of the range {ranges}; use a list of values")
        problems += [f"space.{problem}" for problem in size_problems(self.space)]
        problems += [
            f"recipe.{problem}" if problem.split(":")[0].isidentifier() else f"recipe: {problem}"
            for problem in [
                *self.recipe.problems_over(self.max_epochs),
                *self.recipe.problems_on(self.space.image_size),
            ]
        ]
        problems += [
            f"recipe.families.{name}: the name is taken by a dimension of the layout; choose another name"
            for name in layout_bounds(self.space)
            if name in {part.name for part in self.recipe.searched}
        ]
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def _judged_without_images(self) -> list[str]:
        """Sentences on what needs the validation images that `all_data` trains on."""
        problems = []
        fixed = self.recipe.fixed
        if len(self.space.layouts) != 1 or fixed is None:
            problems.append(
                "all_data: leaves no validation images to choose by, but there are several layouts or recipes; list "
                "one layout as space.layouts and give each field of the recipe one value"
            )
        elif fields := fixed.judged_by:
            problems.append(f"all_data: recipe.{fields[0]} needs validation images; change it, or leave all_data out")
        if self.train_images is not None or self.validation_splits > 1:
            key = "train_images" if self.train_images is not None else "validation_splits"
            problems.append(f"all_data: contradicts {key}; leave one of them out")
        return problems

    @property
    def resources(self) -> Resources:
        """What a trial takes, and how many run at a time.

        Raises:
            ValueError: `gpus_per_trial` is `auto`, which `search.planning.gpu_sharing` turns into a number.
        """
        if self.gpus_per_trial == "auto":
            raise ValueError("gpus_per_trial: auto is not a number yet; resolve it with with_share first")
        return Resources(self.cpus_per_trial, self.gpus_per_trial, self.concurrency)

    @property
    def budgets(self) -> Budgets:
        """What the run may spend."""
        return Budgets(
            trials=self.trials,
            time_s=self.time_budget_s,
            epochs=self.epoch_budget,
            max_retries=self.max_retries,
            fail_fast=self.fail_fast,
            checkpoints=self.keep_checkpoints,
            disk_bytes=self.disk_quota,
        )

    @property
    def ladder(self) -> Ladder:
        """The rungs, and which part of the trials passes each."""
        return Ladder(self.rungs, self.reduction_factor)

    @property
    def limits(self) -> Limits:
        """What the record holds the run's trials to."""
        return Limits(self.space.min_params, self.space.max_params, self.max_epochs)

    @property
    def rungs(self) -> tuple[int, ...]:
        """The epochs at which trials are compared."""
        return rung_epochs(self.grace_epochs, self.reduction_factor, self.max_epochs, self.earlier_max_epochs)

    @property
    def trials_per_place(self) -> int:
        """Trials that share a place of the ranking: with several validation splits a layout and recipe has one."""
        return self.replicates if self.validation_splits > 1 else 1

    @property
    def split_seeds(self) -> range:
        """The seeds of the validation splits."""
        return range(self.split_seed, self.split_seed + self.validation_splits)

    def split_of(self, seed: int) -> int:
        """The seed of the validation split on which the trial with `seed` is trained."""
        return self.split_seeds[(seed - self.seed) % self.validation_splits]

    def data_arguments_of(self, seed: int) -> dict[str, Any]:
        """The arguments of `load_training_set` for the trial with `seed`."""
        return self.data_arguments | {"split_seed": self.split_of(seed)}

    @property
    def data_arguments(self) -> dict[str, Any]:
        """The arguments of `load_training_set`, with the first validation split."""
        return {
            "name": self.dataset,
            "data_dir": None if self.data_dir is None else str(Path(self.data_dir).expanduser().absolute()),
            "image_size": self.image_size,
            "train_images": self.train_images,
            "split_seed": self.split_seed,
            "validation_share": self.validation_share,
            "test_share": self.test_share,
            "val_folder": self.val_folder,
            "all_data": self.all_data,
        }

    @cached_property
    def dataset_facts(self) -> DatasetInfo:
        """Shape, classes and sizes of the data set, as they were when this was first read."""
        return dataset_info(
            self.dataset, self.image_size, self.data_dir, test_share=self.test_share, val_folder=self.val_folder
        )
