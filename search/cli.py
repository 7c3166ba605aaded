"""The console script `parambudget`: the project's commands under one name, with shell completion."""

from __future__ import annotations

import os
import sys

from search.process import check_origin

check_origin()  # before the first import of a sibling, which might be another distribution's

import typer  # noqa: E402

from results import leaderboard, runs, show  # noqa: E402
from results.console import VersionOption, run_app  # noqa: E402
from search.evaluate import evaluate_command  # noqa: E402
from search.export import export_command  # noqa: E402
from search.process import leave, repair_environment  # noqa: E402
from search.refit import refit_command  # noqa: E402
from search.run import RunCommand, run_command  # noqa: E402
from search.space import space_command  # noqa: E402
from trainables.errors import TrainablesError  # noqa: E402

app = typer.Typer(name="parambudget", rich_markup_mode=None)


@app.callback()
def main_command(version: VersionOption = False) -> None:
    """The best residual network under a parameter budget: search, list, rank, show, refit, evaluate and export."""


app.command("run", cls=RunCommand)(run_command)
app.command("space")(space_command)
app.command("leaderboard", epilog=leaderboard.EXAMPLES)(leaderboard.leaderboard_command)
app.command("runs", epilog=runs.EXAMPLES)(runs.runs_command)
app.command("show", epilog=show.EXAMPLES)(show.show_command)
app.command("refit")(refit_command)
app.command("evaluate")(evaluate_command)
app.command("export")(export_command)


def main() -> None:
    """Runs the command line and exits with its code."""
    repair_environment()
    sys.path.append(os.getcwd())  # where `python -m` looks too: a space's predicate may be a module of the user's
    leave(run_app(app, user_errors=(TrainablesError,)))
