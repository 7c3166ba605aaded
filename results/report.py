"""The command line of a report: `python -m results.report`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from results.console import VersionOption, run_app
from results.errors import ResultsError

EXAMPLES: Final = """\b
Example:
  python -m results.report my-run -o report.html
  python -m results.report run-a run-b -o compared.html
  python -m results.report my-run -o report.html --figures figures
"""
"""The end of the help text, also for an application that mounts the command: `app.command(epilog=EXAMPLES)`."""

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(name="report", epilog=EXAMPLES)
def report_command(
    runs: Annotated[list[str], typer.Argument(metavar="RUN", help="Names or paths of runs; several are compared.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The page to write.")],
    storage: Annotated[Path, typer.Option(metavar="DIR", help="Folder that holds the runs.")] = Path("runs"),
    figures: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Also write each plot to this folder as SVG, with its numbers as CSV."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite FILE, and files in DIR.")] = False,
    version: VersionOption = False,
) -> None:
    """Write one page for a browser: who won, how sure that is, and how the search went."""
    from results.pages.page import Report
    from results.pages.run_facts import page_facts
    from results.record.files import replace_file, require_writable
    from results.record.folders import is_run

    for name, path in (("output", output), ("figures", figures)):
        if path is not None and any(map(is_run, (path.resolve(), path.resolve().parent))):
            raise ResultsError(f"{name}: {path} is in the folder of a run; name another folder")
    require_writable("output", output, force=force)
    if figures is not None and figures.exists() and not figures.is_dir():
        raise ResultsError(f"figures: {figures} is a file; name a folder")
    if figures is not None and figures.exists() and any(figures.iterdir()) and not force:
        raise ResultsError(f"figures: {figures} is not empty; name a new folder, or write into it with --force")
    facts = page_facts(storage, runs)
    for note in facts.notes:
        typer.echo(f"note: {note}", err=True)
    report = Report.of(facts)
    replace_file(output, report.html().encode())
    typer.echo(f"{output}: {output.stat().st_size / 2**20:.1f} MB, opens in any browser")
    if figures is not None:
        typer.echo(f"{figures}: {len(report.write_figures(figures))} plots as SVG, with their numbers as CSV")


def main() -> int:
    """Runs the command line and returns its exit code."""
    return run_app(app)


if __name__ == "__main__":
    sys.exit(main())
