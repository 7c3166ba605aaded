"""`python -m search.run`: starts a search, or resumes one."""

from __future__ import annotations

from search.process import check_origin

check_origin()  # before the first import of a sibling, which might be another distribution's

from collections.abc import Callable  # noqa: E402
from pathlib import Path  # noqa: E402
from shutil import get_terminal_size  # noqa: E402
from typing import Annotated, Any, Final  # noqa: E402

import typer  # noqa: E402

from results.console import VersionOption, grouped, run_app  # noqa: E402
from results.record.storage import require_new_runs  # noqa: E402
from results.streams import silence  # noqa: E402
from search.config import RunConfig, compose  # noqa: E402
from search.config.flags import config_flag, config_keys, nested  # noqa: E402
from search.errors import SearchError  # noqa: E402
from search.process import leave, repair_environment  # noqa: E402
from trainables.errors import TrainablesError  # noqa: E402

app = typer.Typer(add_completion=False, rich_markup_mode=None)

GROUPS: Final = {
    "What to search": (
        *("dataset", "max_params", "min_params", "space", "config", "sets", "sampler", "seed", "warm_start", "reuse"),
        *("data_dir", "image_size", "train_images", "validation_share", "test_share"),
    ),
    "Budget": (
        *("trials", "replicates", "validation_splits", "confirm"),
        *("max_epochs", "grace_epochs", "reduction_factor", "time_budget", "epoch_budget"),
    ),
    "Machine": (
        *("concurrency", "cpus_per_trial", "gpus_per_trial", "address", "disk_quota", "max_retries", "fail_fast"),
    ),
    "Run": ("name", "resume", "storage"),
    "Output": ("dry_run", "quiet", "json", "keys", "version", "help"),
}
"""The options by the titles under which the help lists them."""

RunCommand = grouped(GROUPS)
"""The class of the command, also for an application that mounts it."""


@app.command(name="run", cls=RunCommand)
def run_command(
    prefix: Annotated[
        str | None, typer.Argument(metavar="PREFIX", help="With --keys: print only the keys that start with this.")
    ] = None,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="Name of the run. [default: data set and time]")
    ] = None,
    resume: Annotated[
        str | None, typer.Option(metavar="RUN", help="Continue this run, given by its name or its path.")
    ] = None,
    storage: Annotated[Path, typer.Option(metavar="DIR", help="Folder that holds the runs.")] = Path("runs"),
    dataset: Annotated[str | None, config_flag("dataset", metavar="NAME|DIR")] = None,
    data_dir: Annotated[str | None, config_flag("data_dir", metavar="DIR")] = None,
    image_size: Annotated[str | None, config_flag("image_size", metavar="N")] = None,
    train_images: Annotated[str | None, config_flag("train_images", metavar="N")] = None,
    validation_share: Annotated[float | None, config_flag("validation_share", metavar="X")] = None,
    test_share: Annotated[float | None, config_flag("test_share", metavar="X")] = None,
    trials: Annotated[str | None, config_flag("trials", metavar="N")] = None,
    replicates: Annotated[str | None, config_flag("replicates", metavar="N")] = None,
    validation_splits: Annotated[str | None, config_flag("validation_splits", metavar="N")] = None,
    warm_start: Annotated[list[str] | None, config_flag("warm_start", metavar="PRESET|RUN[:N]")] = None,
    reuse: Annotated[list[str] | None, config_flag("reuse", metavar="RUN")] = None,
    max_epochs: Annotated[str | None, config_flag("max_epochs", metavar="N")] = None,
    grace_epochs: Annotated[str | None, config_flag("grace_epochs", metavar="N")] = None,
    reduction_factor: Annotated[str | None, config_flag("reduction_factor", metavar="N")] = None,
    max_params: Annotated[str | None, config_flag("space.max_params", metavar="N")] = None,
    min_params: Annotated[str | None, config_flag("space.min_params", metavar="N")] = None,
    space: Annotated[Path | None, typer.Option(metavar="FILE", help="TOML file with keys of the space.")] = None,
    confirm: Annotated[str | None, config_flag("confirm", metavar="K")] = None,
    sampler: Annotated[str | None, config_flag("sampler", metavar="tpe|gp|random|grid|optuna:NAME")] = None,
    seed: Annotated[str | None, config_flag("seed", metavar="N")] = None,
    concurrency: Annotated[str | None, config_flag("concurrency", metavar="N")] = None,
    cpus_per_trial: Annotated[str | None, config_flag("cpus_per_trial", metavar="N")] = None,
    gpus_per_trial: Annotated[str | None, config_flag("gpus_per_trial", metavar="X|auto")] = None,
    time_budget: Annotated[str | None, config_flag("time_budget_s", metavar="1h30m")] = None,
    epoch_budget: Annotated[str | None, config_flag("epoch_budget", metavar="N")] = None,
    max_retries: Annotated[str | None, config_flag("max_retries", metavar="N")] = None,
    fail_fast: Annotated[str | None, config_flag("fail_fast", metavar="N")] = None,
    disk_quota: Annotated[str | None, config_flag("disk_quota", metavar="20G")] = None,
    address: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="Ray cluster to use; by default, Ray starts on this machine."),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="TOML file with any keys; flags override it.")
    ] = None,
    sets: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Set any key, for example recipe.learning_rate=0.05."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what the search would do and cost, and launch nothing.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print only the result.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")] = False,
    keys: Annotated[
        bool, typer.Option("--keys", help="Print the configuration keys and what they do, and exit.")
    ] = False,
    version: VersionOption = False,
) -> int:
    """Search for the best residual network under a parameter budget.

    Without flags, it searches on scikit-learn's digits for about a minute on two cores. Values come from the
    defaults of the data set, then --config, then --space, then flags, then --set; later ones win. Whole numbers may be
    written as 300k or 5M.

    \b
    Example:
      python -m search.run
      python -m search.run --dataset cifar10 --trials 100 --max-epochs 72 --gpus-per-trial 0.5
      python -m search.run --dataset cifar10 --max-params 300000 --min-params 250000 --dry-run
      python -m search.run --resume my-run --trials 200
      python -m search.run --resume my-run --max-epochs 216 --max-params 4000000
      python -m search.run --keys space
    """
    if keys:
        return _print_keys(prefix or "")
    if prefix is not None:
        raise SearchError(f"unexpected argument {prefix!r}; every value needs a flag (see python -m search.run --help)")
    flags = nested(
        {
            "dataset": dataset,
            "data_dir": data_dir,
            "image_size": image_size,
            "train_images": train_images,
            "validation_share": validation_share,
            "test_share": test_share,
            "trials": trials,
            "replicates": replicates,
            "validation_splits": validation_splits,
            "warm_start": warm_start or None,
            "reuse": reuse or None,
            "max_epochs": max_epochs,
            "grace_epochs": grace_epochs,
            "reduction_factor": reduction_factor,
            "space.max_params": max_params,
            "space.min_params": min_params,
            "confirm": confirm,
            "sampler": sampler,
            "seed": seed,
            "concurrency": concurrency,
            "cpus_per_trial": cpus_per_trial,
            "gpus_per_trial": gpus_per_trial,
            "time_budget_s": time_budget,
            "epoch_budget": epoch_budget,
            "max_retries": max_retries,
            "fail_fast": fail_fast,
            "disk_quota": disk_quota,
        }
    )
    from search.launch import launch, resume_run, show_plan

    say = _messages(quiet or json)
    if not dry_run:
        silence("stdout")  # the search outlives its reader: its results are in the run's folder
    if resume is not None:
        _refuse_with_resume({"--name": name, "--config": config, "--space": space})
        return resume_run(storage, resume, flags, sets or [], address, quiet=quiet, json=json, dry_run=dry_run, say=say)
    require_new_runs(storage)
    composed: RunConfig = compose(config, space, flags, sets or [])
    if dry_run:
        return show_plan(composed, storage, name, address, json=json, say=say)
    return launch(composed, storage, name, address, quiet=quiet, json=json, say=say)


def key_flags() -> dict[str, str]:
    """The flag of every key of the configuration that has one."""
    flags = {parameter.name: parameter.opts[0] for parameter in typer.main.get_command(app).params}
    return {key: flags[name] for name, key in config_keys(run_command).items()}


def _print_keys(prefix: str) -> int:
    from search.config.reference import all_keys, as_text, keys_with_prefix

    typer.echo(as_text(keys_with_prefix(all_keys(key_flags()), prefix), min(100, get_terminal_size().columns)))
    return 0


def _refuse_with_resume(given: dict[str, Any]) -> None:
    refused = [flag for flag, value in given.items() if value is not None]
    if refused:
        raise SearchError(
            f"{', '.join(refused)} cannot be given with --resume, because a run keeps what it was started with"
        )


def _messages(quiet: bool) -> Callable[[str], None]:
    def say(message: str) -> None:
        if not quiet:
            typer.echo(message, err=True)

    return say


def main() -> int:
    """Runs the command line and returns its exit code."""
    repair_environment()
    return run_app(app, user_errors=(TrainablesError,))


if __name__ == "__main__":
    leave(main())
