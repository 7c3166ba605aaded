"""`python -m search.evaluate`: the final evaluation, the only code that opens a test set."""

from __future__ import annotations

import sys

from search.process import check_origin, repair_environment

check_origin()  # before the first import of a sibling, which might be another distribution's

from pathlib import Path  # noqa: E402
from typing import Annotated  # noqa: E402

import typer  # noqa: E402

from results.console import VersionOption, run_app  # noqa: E402
from results.record.files import require_writable  # noqa: E402
from search.errors import SearchError  # noqa: E402
from trainables.errors import TrainablesError  # noqa: E402

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(name="evaluate")
def evaluate_command(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Name or path of the run.")],
    trial: Annotated[int | None, typer.Option(metavar="N", help="Trial to evaluate. [default: the best one]")] = None,
    storage: Annotated[Path, typer.Option(metavar="DIR", help="Folder that holds the runs.")] = Path("runs"),
    flip: Annotated[
        bool,
        typer.Option("--flip", help="Test-time augmentation: average the outputs for each image and its mirror image."),
    ] = False,
    predict: Annotated[
        Path | None,
        typer.Option(metavar="DIR|FILE", help="Predict the classes of a folder of images or a .npy file instead."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="CSV file for the predictions. [default: predictions.csv]")
    ] = None,
    header: Annotated[
        str | None,
        typer.Option(
            metavar="ID,LABEL", help="Write predictions of two columns with these names: id and number of the class."
        ),
    ] = None,
    export: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Export the network instead: search.export with --size trained."),
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(metavar="DIR", help="Where the images of the run are now, if their folder was moved.")
    ] = None,
    confusion: Annotated[
        Path | None, typer.Option(metavar="FILE.csv|FILE.json", help="Also write the confusion matrix to this file.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the measurement as one JSON object.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Overwrite the file of --output, --export or --confusion.")
    ] = False,
    version: VersionOption = False,
) -> None:
    """Measure the best network of a run on the test set, once, when the search is over.

    The trial's checkpoint is evaluated. The result is kept in the run, and a second call shows it again instead of
    measuring it again. --predict and --export neither open the test set nor change the run.

    \b
    Example:
      python -m search.evaluate my-run
      python -m search.evaluate my-run --trial 7 --flip
      python -m search.evaluate my-run --confusion confusion.csv
      python -m search.evaluate my-run --predict images/ --output predictions.csv
      python -m search.evaluate my-run --predict images/ --header ID,Labels
      python -m search.evaluate my-run --export best.pt2
    """
    if predict is not None and export is not None:
        raise SearchError("--predict and --export given; use one at a time")
    if predict is not None or export is not None:
        of_the_test = {"--flip": flip, "--json": json, "--confusion": confusion is not None}
        if given := [name for name, is_given in of_the_test.items() if is_given]:
            other = "predict" if predict is not None else "export"
            raise SearchError(f"{given[0]} is for the test set; leave it out with --{other}")
    if dataset is not None:
        from search.runs import existing_run_folder
        from search.runs.moved import take_moved_images

        take_moved_images(existing_run_folder(storage, run, changed=True), dataset)
    if predict is not None:
        from search.evaluation.predict import write_predictions

        output = output or Path("predictions.csv")
        require_writable("output", output, force=force)
        typer.echo(write_predictions(storage, run, trial, predict, output, header))
        return
    for name, value in {"--output": output, "--header": header}.items():
        if value is not None:
            raise SearchError(f"{name} is for --predict; give both, or neither")
    if export is not None:
        from search.evaluation.export import write_export

        require_writable("export", export, force=force)
        typer.echo(write_export(storage, run, trial, export))
        return
    if force and confusion is None:
        raise SearchError("--force is for --predict, --export and --confusion; leave it out")
    import json as jsonlib

    from rich.console import Console

    from search.evaluation.final import evaluated_facts
    from search.evaluation.report import print_test, require_confusion_suffix, write_confusion

    if confusion is not None:
        require_confusion_suffix(confusion)
        require_writable("confusion", confusion, force=force)
    facts = evaluated_facts(storage, run, trial, flip)
    if confusion is not None:
        write_confusion(facts, confusion)
    if json:
        typer.echo(jsonlib.dumps(facts))
    else:
        print_test(facts, Console())


def main() -> int:
    """Runs the command line and returns its exit code."""
    repair_environment()
    return run_app(app, user_errors=(TrainablesError,))


if __name__ == "__main__":
    sys.exit(main())
