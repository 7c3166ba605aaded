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
    export: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Export the network instead: search.export with --size trained."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file of --output or --export.")] = False,
    version: VersionOption = False,
) -> None:
    """Measure the best network of a run on the test set, once, when the search is over.

    The trial's checkpoint is evaluated. The result is kept in the run, and a second call shows it again instead of
    measuring it again. --predict and --export neither open the test set nor change the run.

    \b
    Example:
      python -m search.evaluate my-run
      python -m search.evaluate my-run --trial 7 --flip
      python -m search.evaluate my-run --predict images/ --output predictions.csv
      python -m search.evaluate my-run --export best.pt2
    """
    if predict is not None and export is not None:
        raise SearchError("--predict and --export given; use one at a time")
    if flip and (predict is not None or export is not None):
        raise SearchError(f"--flip is for the test set; leave it out with --{'predict' if predict else 'export'}")
    if predict is not None:
        from search.evaluation.predict import write_predictions

        output = output or Path("predictions.csv")
        require_writable("output", output, force=force)
        typer.echo(write_predictions(storage, run, trial, predict, output))
        return
    if output is not None:
        raise SearchError("--output is for --predict; give both, or neither")
    if export is not None:
        from search.evaluation.export import write_export

        require_writable("export", export, force=force)
        typer.echo(write_export(storage, run, trial, export))
        return
    if force:
        raise SearchError("--force is for --predict and --export; leave it out")
    from results import Record, TableWriter
    from search.evaluation.kept_network import chosen_trial, kept_checkpoint
    from search.evaluation.measure import measure
    from search.runs import existing_run_folder, read_config
    from search.runs.folder import read_test_sha256

    folder = existing_run_folder(storage, run, changed=True)
    config = read_config(folder)
    with Record(folder) as record:
        chosen = chosen_trial(folder.name, record.state, trial)
        if chosen.test_accuracy is None:
            checkpoint = kept_checkpoint(folder, record.state, chosen, config.keep_checkpoints)
            accuracy, loss, epoch = measure(
                checkpoint, chosen.trial, config.data_arguments, flip, read_test_sha256(folder)
            )
            measured = {"epoch": epoch, "test_accuracy": accuracy, "test_loss": loss, "flip": flip}
            record.append("evaluated", trial=chosen.trial, **measured)
            TableWriter(folder).update(record, force=True)
        elif flip and not chosen.test_flip:
            raise SearchError(
                f"trial {chosen.trial}: --flip given, but the trial was already measured without it, and each trial is "
                "measured once; leave --flip out"
            )
        accuracies = {report.epoch: report.val_accuracy for report in record.state.reports[chosen.trial]}
        then = accuracies.get(chosen.test_epoch or 0, chosen.val_accuracy or 0)
        how = " with flip test-time augmentation," if chosen.test_flip else ""
        best = ", its best," if chosen.recipe["keep_weights"] == "best" else ""
        typer.echo(
            f"{folder.name} trial {chosen.trial}, {chosen.layout_id}, {chosen.params:,} parameters: test accuracy "
            f"{chosen.test_accuracy:.2%}{how} with the weights of epoch {chosen.test_epoch}{best} "
            f"(validation {then:.2%})"
        )


def main() -> int:
    """Runs the command line and returns its exit code."""
    repair_environment()
    return run_app(app, user_errors=(TrainablesError,))


if __name__ == "__main__":
    sys.exit(main())
