"""The command line of a trial's page: `python -m results.show`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from results.console import VersionOption, run_app
from results.errors import ResultsError

EXAMPLES: Final = """\b
Example:
  python -m results.show my-run
  python -m results.show my-run 7 --json
  python -m results.show my-run 7 --toml > trial-7.toml
"""
"""The end of the help text, also for an application that mounts the command: `app.command(epilog=EXAMPLES)`."""

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(name="show", epilog=EXAMPLES)
def show_command(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Name or path of the run.")],
    trial: Annotated[
        int | None, typer.Argument(metavar="TRIAL", help="Number of the trial.", show_default="the best one")
    ] = None,
    storage: Annotated[Path, typer.Option(metavar="DIR", help="Folder that holds the runs.")] = Path("runs"),
    json: Annotated[bool, typer.Option("--json", help="Print everything as one JSON object.")] = False,
    toml: Annotated[bool, typer.Option("--toml", help="Print the configuration that trains it again, alone.")] = False,
    version: VersionOption = False,
) -> None:
    """Show one trial: its network, recipe, curve, time and end, and how to train it again."""
    if json and toml:
        raise ResultsError("--json and --toml given; use one at a time")
    from results.trial_page.facts import trial_facts
    from results.trial_page.text import page_json, page_text

    facts = trial_facts(storage, run, trial)
    for note in facts.notes:
        typer.echo(f"note: {note}", err=True)
    if toml:
        sys.stdout.write(facts.toml)
    else:
        sys.stdout.write(page_json(facts) if json else page_text(facts, sys.stdout.encoding or "ascii"))


def main() -> int:
    """Runs the command line and returns its exit code."""
    return run_app(app)


if __name__ == "__main__":
    sys.exit(main())
