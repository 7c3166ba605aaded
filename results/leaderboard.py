"""The command line of the leaderboard: `python -m results.leaderboard`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from results.console import VersionOption, run_app
from results.errors import ResultsError
from results.ranking.rendering import PEOPLE, OutputFormat, format_of, require_library, write_board
from results.record.files import require_writable
from results.record.folders import is_run

if TYPE_CHECKING:
    from results.ranking.board import Board
    from results.record.trials_of_runs import TrialsOfRuns

DEFAULT_TOP: Final = 10  # rows of the formats for people

WATCH_S: Final = 2.0
"""Seconds between two looks at the records with `--watch`."""
EXAMPLES: Final = """\b
Example:
  python -m results.leaderboard
  python -m results.leaderboard my-run --where "params < 1e6 and status = 'completed'"
  python -m results.leaderboard --sort -params --format csv --output leaderboard.csv
  python -m results.leaderboard --pareto params,val_accuracy --columns run,trial,params,val,blocks
  python -m results.leaderboard --sql "SELECT run, count(*) FROM trials GROUP BY run"
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
            show_default=f"{DEFAULT_TOP} for table, markdown, latex",
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
    columns: Annotated[
        str | None, typer.Option(metavar="A,B,...", help="Show these columns alone, in this order.")
    ] = None,
    list_columns: Annotated[
        bool, typer.Option("--list-columns", help="List all columns with units and meanings, and exit.")
    ] = False,
    by: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Show the best of each value of this column.")
    ] = None,
    pareto: Annotated[
        str | None,
        typer.Option(metavar="A,B", help="Show the trials that none exceeds in both columns: params,val_accuracy."),
    ] = None,
    compare: Annotated[
        tuple[str, str] | None, typer.Option(metavar="RUN_A RUN_B", help="Show two runs beside each other.")
    ] = None,
    sql: Annotated[
        str | None, typer.Option(metavar="SELECT", help="Answer one SELECT over the views trials and epochs.")
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
    watch: Annotated[
        bool, typer.Option("--watch", help="Show the table again whenever a run has news, until Ctrl-C.")
    ] = False,
    version: VersionOption = False,
) -> None:
    """Show the best trials of one run, of several, or of all runs."""
    if list_columns:
        from results.ranking.column_meanings import columns_text

        sys.stdout.write(columns_text())
        return
    _require_one_question(
        {"--compare": compare, "--sql": sql},
        {
            **{"--where": where, "--sort": sort, "--columns": columns, "--by": by, "--pareto": pareto, "--top": top},
            **{"--full-fidelity": full_fidelity, "--all": all_trials, "--over-seeds": over_seeds, "--curves": curves},
            **({"RUN": runs} if compare else {}),
        },
    )
    _require_files(output, curves, force=force)
    output_format = given_format or format_of(output)
    if watch and (output or curves or output_format is not OutputFormat.table):
        raise ResultsError("--watch shows a table; leave --output, --curves and --format out")
    require_library(output_format)

    def show() -> None:
        # imported here, because pyarrow and duckdb take a third of a second, which would delay --help
        if sql is not None:
            from results.ranking.sql_query import answer

            board, notes = answer(sql, storage, runs or ())
        elif compare is not None:
            from results.ranking.comparison import compared

            board, notes = compared(storage, *compare)
        else:
            from results.ranking.query import make_board
            from results.ranking.short_columns import TABLE_COLUMNS
            from results.record.trials_of_runs import open_runs

            people = output_format in PEOPLE
            trials = open_runs(storage, runs or ())
            board = make_board(
                trials,
                where=where,
                sort=sort,
                top=top or (DEFAULT_TOP if people and by is None and pareto is None else None),
                full_fidelity=full_fidelity,
                all_trials=all_trials,
                over_seeds=over_seeds,
                by=by,
                pareto=pareto,
                shown=columns.split(",") if columns is not None else (),
                columns=TABLE_COLUMNS if people else None,
            )
            notes = [*trials.notes, *trials.driver_notes(), *_notes(board, trials, where, all_trials)]
        for note in notes:
            typer.echo(f"note: {note}", err=True)
        if curves is not None:
            from results.ranking.curves import write_curves

            write_curves(storage, runs or (), board, curves)
        write_board(board, output_format, output)

    if watch:
        from results.ranking.watching import watched

        watched(show, storage, runs or (), WATCH_S)
    else:
        show()


def _notes(board: Board, trials: TrialsOfRuns, where: str | None, all_trials: bool) -> list[str]:
    """Sentences on what the rows of the leaderboard leave out."""
    from results.ranking.query import count_outside, left_out

    notes = []
    if where is not None:
        from results.ranking.filtering import share_note, unknown_value_notes

        notes += [*filter(None, [share_note(where, trials.schema.names)]), *unknown_value_notes(where, trials)]
    if not all_trials and (outside := count_outside(trials)):
        notes.append(f"{left_out(outside)}; --all shows them")
    if not board.table.num_rows:
        notes.append("no trial matches" if trials.num_rows else "no trial yet")
    return notes


def _require_one_question(questions: dict[str, Any], others: dict[str, Any]) -> None:
    """Checks that an option that is a question of its own is given alone.

    `questions` are these options and `others` the options that none of them takes, by flag.

    Raises:
        ResultsError: one is given beside another option.
    """
    asked = [name for name, given in questions.items() if given is not None]
    beside = [*asked[1:], *(name for name, given in others.items() if given not in (None, False, []))]
    if asked and beside:
        raise ResultsError(f"{asked[0]} is a question of its own; leave {beside[0]} out")


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
    if curves is not None and curves.suffix.lower() not in ("", ".csv"):
        raise ResultsError(f"curves: {curves.suffix} given, but the file is CSV; use .csv")


def main() -> int:
    """Runs the command line and returns its exit code."""
    return run_app(app)


if __name__ == "__main__":
    sys.exit(main())
