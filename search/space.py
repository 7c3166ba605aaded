"""`python -m search.space`: shows a space without training anything."""

from __future__ import annotations

import sys

from search.process import check_origin, repair_environment

check_origin()  # before the first import of a sibling, which might be another distribution's

import json as jsonlib  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Annotated  # noqa: E402

import typer  # noqa: E402

from results.console import VersionOption, run_app  # noqa: E402
from search.config import compose  # noqa: E402
from search.config.flags import config_flag, nested  # noqa: E402
from trainables.errors import TrainablesError  # noqa: E402

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(name="space")
def space_command(
    dataset: Annotated[
        str | None,
        typer.Option(metavar="NAME|DIR", help="Data set. [default: that of --config, else cifar10]"),
    ] = None,
    max_params: Annotated[str | None, config_flag("space.max_params", metavar="N")] = None,
    min_params: Annotated[str | None, config_flag("space.min_params", metavar="N")] = None,
    space: Annotated[Path | None, typer.Option(metavar="FILE", help="TOML file with keys of the space.")] = None,
    config: Annotated[Path | None, typer.Option(metavar="FILE", help="TOML file with any keys of a run.")] = None,
    sets: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Set any key, for example space.stages=[3,4,5]."),
    ] = None,
    samples: Annotated[
        int, typer.Option(min=0, max=1000, metavar="N", help="How many layouts to draw uniformly and show.")
    ] = 5,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Seed of the drawn layouts.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="Print the report as one JSON object.")] = False,
    version: VersionOption = False,
) -> None:
    """Show a space of layouts: how many there are, how their parameters are distributed, and a few samples.

    Whole numbers of --max-params, --min-params and --set may be written as 300k or 5M.

    \b
    Example:
      python -m search.space
      python -m search.space --max-params 300000 --min-params 250000
      python -m search.space --set 'space.stages=[3]' --set 'space.kernels=[3,5]' --samples 10
    """
    usual = None if config is not None else "cifar10"
    given = {"dataset": dataset or usual, "space.max_params": max_params, "space.min_params": min_params}
    flags = nested(given)
    composed = compose(config, space, flags, sets or [])

    from rich.console import Console

    from search.layouts.report import make_report
    from search.layouts.report_text import print_report

    report = make_report(composed.space, samples, seed)
    if json:
        sys.stdout.write(jsonlib.dumps(report.to_dict()) + "\n")
    else:
        print_report(report, Console())


def main() -> int:
    """Runs the command line and returns its exit code."""
    repair_environment()
    return run_app(app, user_errors=(TrainablesError,))


if __name__ == "__main__":
    sys.exit(main())
