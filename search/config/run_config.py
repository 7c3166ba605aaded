"""The configuration of a run: one frozen model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from results.record.trial_state import Limits
from search.config.views import Budgets, Ladder, Resources
from search.layouts import LayoutSpace
from search.layouts.chains import size_problems
from search.layouts.dimensions import layout_bounds
from search.recipes import RecipeSpace
from search.recipes.annealing import unannealed
from trainables.data import dataset_info
from trainables.data.datasets import DatasetInfo
from trainables.process_settings import Compile
from trainables.recipe import READ_WITH, USUAL_RATE
from trainables.schedule import rung_epochs

SamplerName = Literal["tpe", "random", "grid"]


def _read_share(value: Any) -> Any:
    try:
        if value == "auto" or (not isinstance(value, bool) and 0 <= float(value) < float("inf")):
            return value if value == "auto" else float(value)
    except (TypeError, ValueError):
        pass
    raise ValueError(f"{value!r} given; use a number of at least 0, or auto")


GpuShare = Annotated[float | Literal["auto"], BeforeValidator(_read_share)]


class RunConfig(BaseModel):
    """Everything that decides what a run does; `run.json` keeps it.

    Raises:
        pydantic.ValidationError: values outside their range or that contradict each other; it lists all problems.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    dataset: str = "digits"
    """Data set by name, or the path of a folder of class folders of images."""
    data_dir: str | None = None
    """Folder of the prepared data sets; the user's cache folder when not given."""
    image_size: Annotated[int, Field(ge=8, le=512)] | None = None
    """Side of the images of an image folder, pixels."""
    train_images: Annotated[int, Field(ge=1)] | None = None
    """Train on a stratified subset of so many images; validation images stay the same."""
    split_seed: Annotated[int, Field(ge=0)] = 0
    """Seed of the validation split and the subset."""
    trials: Annotated[int, Field(ge=1, le=1_000_000)] = 100
    """Trainings in all, replicates among them."""
    replicates: Annotated[int, Field(ge=1, le=1000)] = 1
    """How often each layout with its recipe is trained, every time with another seed."""
    warm_start: tuple[str, ...] = ()
    """What is tried first: names of presets, and runs, whose best three (or N, as RUN:N) are taken."""
    reuse: tuple[str, ...] = ()
    """Runs whose results stand for trainings of this run: the same layout, recipe, seed, data and rungs."""
    max_epochs: Annotated[int, Field(ge=1, le=100_000)] = 72
    """Epochs of a trial that is never stopped: the last rung."""
    grace_epochs: Annotated[int, Field(ge=1)] = 8
    """Epochs before a trial may be stopped: the first rung."""
    reduction_factor: Annotated[int, Field(ge=2, le=100)] = 3
    """One of so many trials passes a rung, and the next rung is so many times later."""
    earlier_max_epochs: tuple[Annotated[int, Field(ge=1)], ...] = ()
    """Other values that `max_epochs` has had in this run, ascending; resumes keep them, and each stays a rung."""
    sampler: SamplerName = "tpe"
    """Who proposes layouts."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """Seed of the sampler and of every training."""
    concurrency: Annotated[int, Field(ge=1)] | None = None
    """Trials at a time; as many as the resources hold when not given."""
    cpus_per_trial: Annotated[int, Field(ge=1)] = 1
    """CPU cores, and threads, of a trial."""
    gpus_per_trial: GpuShare = 0.0
    """GPUs of a trial; 0.5 lets two share one, auto lets as many share one as it holds and that use it better."""
    compile: Compile = "auto"
    """Whether a trial compiles its residual blocks (blocks) or not (off); auto where that is known to be faster."""
    time_budget_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """Stop, resumable, after so many seconds; a resume has as many again."""
    epoch_budget: Annotated[int, Field(ge=1)] | None = None
    """Stop, resumable, when all trials of the run together have trained so many epochs."""
    max_retries: Annotated[int, Field(ge=0, le=100)] = 3
    """How often a trial whose process or node died is started again from its checkpoint."""
    fail_fast: Annotated[int, Field(ge=0)] = 3
    """Stop when the first so many trials of a session all fail with the same error; 0 never does."""
    keep_checkpoints: Annotated[int, Field(ge=1)] = 3
    """Finished trials whose checkpoints are kept: the best ones."""
    disk_quota: Annotated[int, Field(ge=1, le=2**62)] | None = None
    """Most bytes that the run's folder may take; as many as the disk has when not given."""
    space: LayoutSpace = LayoutSpace()
    """Layouts that are searched."""
    recipe: RecipeSpace = RecipeSpace()
    """How each is trained: fields that are fixed, chosen or ranged."""

    @model_validator(mode="after")
    def _sense(self) -> RunConfig:
        problems = []
        if self.grace_epochs > self.max_epochs:
            problems.append(
                f"grace_epochs: {self.grace_epochs} given, over max_epochs ({self.max_epochs}); "
                "lower it or raise max_epochs"
            )
        share = self.gpus_per_trial
        if share != "auto" and share > 1 and share != int(share):
            problems.append(f"gpus_per_trial: {share:g} given; above 1 it must be a whole number")
        if self.seed + self.replicates > 2**31:
            problems.append(
                f"seed: {self.seed} given with {self.replicates} replicates, each with a seed one higher; "
                f"use at most {2**31 - self.replicates}"
            )
        if self.sampler == "grid" and self.recipe.size is None:
            ranges = ", ".join(f"recipe.{name}" for name in self.recipe.continuous)
            problems.append(f"sampler: grid given, but {ranges} is a range; give a list of values")
        problems += [f"space.{problem}" for problem in size_problems(self.space)]
        problems += [
            f"recipe.{problem}" if problem.split(":")[0].isidentifier() else f"recipe: {problem}"
            for problem in self.recipe.problems_over(self.max_epochs)
        ]
        problems += [
            f"recipe.families.{name}: a layout has a dimension of this name; choose another"
            for name in layout_bounds(self.space)
            if name in {part.name for part in self.recipe.searched}
        ]
        if problems:
            raise ValueError("; ".join(problems))
        return self

    @property
    def resources(self) -> Resources:
        """What a trial takes, and how many run at a time.

        Raises:
            ValueError: `gpus_per_trial` is `auto`, which `search.planning.gpu_sharing` turns into a number.
        """
        if self.gpus_per_trial == "auto":
            raise ValueError("gpus_per_trial: auto stands for a number; settle it first")
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
    def notes(self) -> list[str]:
        """Sentences on what the configuration does that its user may not expect."""
        schedules = unannealed(self.recipe, self.rungs)
        found = []
        if schedules:
            early = ", ".join(map(str, self.rungs[:-1]))
            found.append(
                f"note: {', '.join(schedules)} does not anneal at epochs {early}, where trials are compared; "
                "use recipe.schedule=rung-annealed, or grace_epochs equal to max_epochs"
            )
        lowest = min(self.recipe.values_of("learning_rate"))
        small = sorted(set(self.recipe.values_of("optimizer")) & USUAL_RATE.keys())
        found += [
            f"note: recipe.learning_rate: {lowest:g} or more is much for {name}, whose usual one is {usual:g}"
            for name in small
            if lowest > 20 * (usual := USUAL_RATE[name])
        ]
        for name in self.recipe.unread:
            other, values = READ_WITH[name]
            needed = " or ".join(filter(None, (", ".join(values[:-1]), *values[-1:]))) if values else "above 0"
            found.append(f"note: recipe.{name} changes nothing here; it is read with {other} {needed} alone")
        return found

    @property
    def data_arguments(self) -> dict[str, Any]:
        """The arguments of `load_training_set`."""
        return {
            "name": self.dataset,
            "data_dir": None if self.data_dir is None else str(Path(self.data_dir).expanduser().absolute()),
            "image_size": self.image_size,
            "train_images": self.train_images,
            "split_seed": self.split_seed,
        }

    @property
    def dataset_facts(self) -> DatasetInfo:
        """Shape, classes and sizes of the data set."""
        return dataset_info(self.dataset, self.image_size, self.data_dir)
