"""`python -m search.refit`: trains one trial of a run again, to the end of a schedule of its own."""

from __future__ import annotations

from search.process import check_origin

check_origin()  # before the first import of a sibling, which might be another distribution's

from pathlib import Path  # noqa: E402
from typing import Annotated  # noqa: E402

import typer  # noqa: E402

from results.console import VersionOption, run_app  # noqa: E402
from results.record.storage import require_new_runs  # noqa: E402
from results.streams import silence  # noqa: E402
from search.config.flags import config_flag, nested  # noqa: E402
from search.errors import SearchError  # noqa: E402
from search.process import leave, repair_environment  # noqa: E402
from trainables.errors import TrainablesError  # noqa: E402

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(name="refit")
def refit_command(
    trial: Annotated[
        str, typer.Argument(metavar="RUN[:TRIAL]", help="Trial to train again; of a run alone, the best one.")
    ],
    epochs: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Epochs to train. [default: those of a full-length trial]")
    ] = None,
    time_budget: Annotated[
        str | None,
        typer.Option(metavar="2h", help="Train for the most epochs that end within this time, by measuring the speed."),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, max=1000, metavar="K", help="How many times, with different seeds.")] = 1,
    all_data: Annotated[
        bool, typer.Option("--all-data", help="Train on the validation images too; then nothing is chosen by them.")
    ] = False,
    schedule: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Schedule of the learning rate. [default: cosine, or the trial's linear]"),
    ] = None,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="Name of the new run. [default: RUN, trial and time]")
    ] = None,
    storage: Annotated[Path, typer.Option(metavar="DIR", help="Folder that holds the runs.")] = Path("runs"),
    concurrency: Annotated[str | None, config_flag("concurrency", metavar="N")] = None,
    cpus_per_trial: Annotated[
        str | None,
        typer.Option(metavar="N", help="CPU cores, and threads, per training. [default: all, divided among the seeds]"),
    ] = None,
    gpus_per_trial: Annotated[str | None, config_flag("gpus_per_trial", metavar="X|auto")] = None,
    sets: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Set any key, for example recipe.ema_decay=0.999."),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="Ray cluster to use; by default, Ray starts on this machine."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be trained, and launch nothing.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print only the result.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")] = False,
    version: VersionOption = False,
) -> int:
    """Train a trial of a search again: longer, on more images, with several seeds.

    Data, layout and recipe come from the record of the run. The training is a run of its own in the same storage, which
    is resumed, evaluated and exported like any other.

    \b
    Example:
      python -m search.refit my-run --epochs 200
      python -m search.refit my-run:7 --time-budget 2h --seeds 3
      python -m search.refit my-run --all-data --epochs 200 --set recipe.ema_decay=0.999
    """
    from search.config.composition import flags_of
    from search.launch import launch, show_plan
    from search.refitting import refit_of
    from search.runs.folder import new_run_folder

    def say(message: str) -> None:
        if not (quiet or json):
            typer.echo(message, err=True)

    if epochs is not None and time_budget is not None:
        raise SearchError("--epochs and --time-budget given; use one at a time")
    require_new_runs(storage)
    new_run_folder(storage, name, trial)  # refuses a name before the speed is measured
    flags = {"concurrency": concurrency, "cpus_per_trial": cpus_per_trial, "gpus_per_trial": gpus_per_trial}
    changes = flags_of(nested({**flags, "time_budget_s": time_budget}), sets or [])
    budget_s = changes.pop("time_budget_s", None)
    refit = refit_of(storage, trial, seeds, all_data, schedule, changes)
    config = refit.config_within(budget_s, say) if budget_s else refit.config(epochs or refit.source.max_epochs)
    say(refit.sentence(config))
    if dry_run:
        return show_plan(config, storage, name, address, json=json, say=say)
    silence("stdout")  # the training outlives its reader
    return launch(config, storage, name, address, quiet=quiet, json=json, say=say)


def main() -> int:
    """Runs the command line and returns its exit code."""
    repair_environment()
    return run_app(app, user_errors=(TrainablesError,))


if __name__ == "__main__":
    leave(main())
