"""The command line of the list of runs: `python -m results.runs`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from results.console import VersionOption, run_app
from results.errors import ResultsError
from results.ranking.rendering import PEOPLE, OutputFormat, require_library, write_board
from results.wording import counted

EXAMPLES: Final = """\b
Example:
  python -m results.runs
  python -m results.runs my-run --json
  python -m results.runs --format csv > runs.csv
"""
"""The end of the help text, also for an application that mounts the command: `app.command(epilog=EXAMPLES)`."""

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(name="runs", epilog=EXAMPLES)
def runs_command(
    runs: Annotated[
        list[str] | None, typer.Argument(metavar="RUN", help="Names or paths of runs.", show_default="all")
    ] = None,
    storage: Annotated[Path, typer.Option(metavar="DIR", help="Folder that holds the runs.")] = Path("runs"),
    json: Annotated[bool, typer.Option("--json", help="Print a list of JSON objects.")] = False,
    given_format: Annotated[
        OutputFormat | None, typer.Option("--format", help="Output format.", show_default="table")
    ] = None,
    compact: Annotated[
        bool,
        typer.Option(
            "--compact",
            help="Copy the trials of small runs to one file, which makes leaderboards of many runs quicker.",
        ),
    ] = False,
    version: VersionOption = False,
) -> None:
    """List the runs: state, data set, budget, trials by status, best trial, epochs, time and size."""
    if json and given_format not in (None, OutputFormat.json):
        raise ResultsError(f"--json and --format {given_format} given; use one of them")
    if compact:
        if runs or json or given_format:
            raise ResultsError("--compact copies the small runs of the storage; leave RUN, --json and --format out")
        from results.record.trials_of_runs import compact as compact_runs

        folders, trials = compact_runs(storage)
        typer.echo(f"{counted(trials, 'trial')} of {counted(folders, 'small run')} copied to one file in {storage}")
        return
    from results.ranking.run_list import list_runs

    output_format = OutputFormat.json if json else given_format or OutputFormat.table
    require_library(output_format)
    board, notes = list_runs(storage, runs or (), people=output_format in PEOPLE)
    for note in notes:
        typer.echo(f"note: {note}", err=True)
    write_board(board, output_format)


def main() -> int:
    """Runs the command line and returns its exit code."""
    return run_app(app)


if __name__ == "__main__":
    sys.exit(main())
