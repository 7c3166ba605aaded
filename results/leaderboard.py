"""The command line of the leaderboard: `python -m results.leaderboard`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from results.console import VersionOption, run_app
from results.errors import ResultsError
from results.ranking.rendering import OutputFormat, format_of, write_board
from results.record.files import require_writable
from results.record.folders import is_run

DEFAULT_TOP: Final = 10  # rows of the table and Markdown formats

EXAMPLES: Final = """\b
Example:
  python -m results.leaderboard
  python -m results.leaderboard my-run --where "params < 1e6 and status = 'completed'"
  python -m results.leaderboard --sort -params --format csv --output leaderboard.csv
"""
"""The end of the help text, also for an application that mounts the command: `app.command(epilog=EXAMPLES)`."""

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(name="leaderboard", epilog=EXAMPLES)
def leaderboard_command(
    runs: Annotated[
        list[str] | None, typer.Argument(metavar="RUN", help="Names or paths of runs.", show_default="all")
    ] = None,
    storage: Annotated[Path, typer.Option(metavar="DIR", help="Folder that holds the runs.")] = Path("runs"),
    top: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Rows to show per data set.",
            show_default=f"{DEFAULT_TOP} for table, markdown",
        ),
    ] = None,
    where: Annotated[
        str | None,
        typer.Option(
            metavar="EXPR",
            help="Show only trials that match this SQL condition on columns or headings, such as val > 0.95.",
        ),
    ] = None,
    sort: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Sort by this column; -COLUMN puts the largest first.")
    ] = None,
    full_fidelity: Annotated[bool, typer.Option("--full-fidelity", help="Show only completed trials.")] = False,
    all_trials: Annotated[
        bool, typer.Option("--all", help="Also show, unranked, trials outside the current limits of their run.")
    ] = False,
    over_seeds: Annotated[
        bool | None,
        typer.Option(
            help="One row per layout and recipe, with means over seeds.",
            show_default="only for several validation splits",
        ),
    ] = None,
    given_format: Annotated[
        OutputFormat | None,
        typer.Option("--format", help="Output format.", show_default="that of FILE's suffix, else table"),
    ] = None,
    output: Annotated[Path | None, typer.Option(metavar="FILE", help="Write to this file instead of stdout.")] = None,
    curves: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write every epoch of these trials to this CSV file.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file of --output or --curves.")] = False,
    version: VersionOption = False,
) -> None:
    """Show the best trials of one run, of several, or of all runs."""
    # imported here, because pandas, pyarrow and duckdb take most of a second, which would delay --help
    from results.ranking.query import count_outside, left_out, make_board
    from results.ranking.short_columns import TABLE_COLUMNS
    from results.record.trials_of_runs import open_runs

    _require_files(output, curves, force=force)
    output_format = given_format or format_of(output)
    people = output_format in (OutputFormat.table, OutputFormat.markdown)
    trials = open_runs(storage, runs or ())
    board = make_board(
        trials,
        where=where,
        sort=sort,
        top=top or (DEFAULT_TOP if people else None),
        full_fidelity=full_fidelity,
        all_trials=all_trials,
        over_seeds=over_seeds,
        columns=TABLE_COLUMNS if people else None,
    )
    for note in [*trials.notes, *trials.driver_notes()]:
        typer.echo(f"note: {note}", err=True)
    if where is not None:
        from results.ranking.filtering import share_note
        from results.record.trials_of_runs import COLUMNS

        if share := share_note(where, COLUMNS.names):
            typer.echo(f"note: {share}", err=True)
    outside = 0 if all_trials else count_outside(trials)
    if outside:
        typer.echo(f"note: {left_out(outside)}; --all shows them", err=True)
    if not board.total:
        typer.echo("note: no trial matches" if trials.num_rows else "note: no trial yet", err=True)
    if curves is not None:
        from results.ranking.curves import write_curves

        write_curves(storage, runs or (), board, curves)
    write_board(board, output_format, output)


def _require_files(output: Path | None, curves: Path | None, *, force: bool) -> None:
    """Checks that the files to write differ, are not in a run's folder, can be written, and exist only with `force`.

    Raises:
        ResultsError: one of this does not hold, or `force` is given without a file.
    """
    if output is not None and curves is not None and output.resolve() == curves.resolve():
        raise ResultsError(f"curves: {curves} is also --output; name two different files")
    files = {name: path for name, path in (("output", output), ("curves", curves)) if path is not None}
    if force and not files:
        raise ResultsError("--force is for --output and --curves; leave it out")
    for name, path in files.items():
        if is_run(path.resolve().parent):
            raise ResultsError(f"{name}: {path} is in the folder of a run; name a file in another folder")
        require_writable(name, path, force=force)


def main() -> int:
    """Runs the command line and returns its exit code."""
    return run_app(app)


if __name__ == "__main__":
    sys.exit(main())
