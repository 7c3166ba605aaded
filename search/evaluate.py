"""`python -m search.evaluate`: the final evaluation, the only code that opens a test set."""

from __future__ import annotations

import sys

from search.origin import check_origin

check_origin()  # before the first import of a sibling, which might be another distribution's

from pathlib import Path  # noqa: E402
from typing import TYPE_CHECKING, Annotated  # noqa: E402

import typer  # noqa: E402

from results.console import run_app  # noqa: E402
from search.errors import SearchError  # noqa: E402
from trainables.errors import TrainablesError  # noqa: E402

if TYPE_CHECKING:
    from results import TrialState

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(name="evaluate")
def evaluate_command(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Name or folder of a run")],
    trial: Annotated[int | None, typer.Option(metavar="N", help="Trial to evaluate [default: the best one]")] = None,
    storage: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the runs")] = Path("runs"),
) -> None:
    """Measure the best network of a run on the test set, once, when the search is over.

    The network is the trial's checkpoint; what was measured is kept in the run and not measured again.

    \b
    Example:
      python -m search.evaluate my-run
      python -m search.evaluate my-run --trial 7
    """
    from results import Record, TableWriter
    from search.runs import existing_run_folder, read_config
    from search.standing import checkpoint_path, ranked

    folder = existing_run_folder(storage, run)
    config = read_config(folder)
    with Record(folder) as record:
        best = ranked(record.state)
        if trial is None and not best:
            raise SearchError(f"{folder.name}: no trial has reached a rung; continue it with --resume {folder.name}")
        number = best[0].trial if trial is None else trial
        if number not in record.state.trials:
            raise SearchError(f"trial: {number} given, {folder.name} has {len(record.state.trials)} trials, from 0")
        chosen = record.state.trials[number]
        if chosen.test_accuracy is None:
            checkpoint = checkpoint_path(folder, number)
            if not checkpoint.exists():
                raise SearchError(
                    f"trial {number}: its checkpoint was not kept ({chosen.status}); "
                    f"the {config.keep_checkpoints} best finished trials have one"
                )
            _require_ranked_epoch(folder, best, chosen)
            accuracy, loss, epoch = measure(checkpoint, config.data_arguments)
            record.append("evaluated", trial=number, epoch=epoch, test_accuracy=accuracy, test_loss=loss)
            TableWriter(folder).update(record, force=True)
        chosen = record.state.trials[number]
        typer.echo(
            f"{folder.name} trial {number}, {chosen.layout_id}, {chosen.params:,} parameters: "
            f"test accuracy {chosen.test_accuracy:.2%} (validation {chosen.val_accuracy or 0:.2%})"
        )


def _require_ranked_epoch(folder: Path, best: list[TrialState], chosen: TrialState) -> None:
    """Nothing, when the trial's checkpoint is the network whose accuracy is ranked.

    Raises:
        SearchError: it is of another epoch; the message names a trial that can be evaluated, if there is one.
        CheckpointError: it is damaged.
    """
    from search.standing import checkpoint_path
    from trainables.checkpoints import read_epoch

    def epoch_of(trial: TrialState) -> int | None:
        path = checkpoint_path(folder, trial.trial)
        return read_epoch(path) if path.exists() else None

    epoch = epoch_of(chosen)
    if epoch == chosen.rung_epoch:
        return
    ranked_at = "it has no rank yet" if chosen.rung_epoch is None else f"its accuracy is of epoch {chosen.rung_epoch}"
    other = next((trial.trial for trial in best if epoch_of(trial) == trial.rung_epoch), None)
    remedy = f"continue with --resume {folder.name}" if other is None else f"give --trial {other}"
    raise SearchError(f"trial {chosen.trial}: its checkpoint is of epoch {epoch}, {ranked_at}; {remedy}")


def measure(checkpoint: Path, data: dict[str, object]) -> tuple[float, float, int]:
    """Test accuracy in [0, 1], mean cross-entropy in nats, and the epoch, of a checkpoint's network.

    Raises:
        CheckpointError: the checkpoint is damaged.
        DatasetError: the data set cannot be had.
    """
    import json

    import torch

    from model_zoo import ResNetLayout, build
    from trainables import checkpoints
    from trainables.devices import pick_device, resolve_precision
    from trainables.recipe import Recipe
    from trainables.test_set import load_test_set
    from trainables.training import evaluate

    header, _ = checkpoints.read(checkpoint)
    identity = json.loads(header["identity"])
    test = load_test_set(data["name"], data["data_dir"], image_size=data["image_size"])  # type: ignore[arg-type]
    device = pick_device()
    network = build(ResNetLayout.from_dict(identity["layout"]))
    checkpoints.load_weights(checkpoint, network)
    network = network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    accuracy, loss = evaluate(
        network,
        torch.from_numpy(test.images).to(device),
        torch.from_numpy(test.labels).to(device),
        torch.arange(len(test.labels), device=device),
        torch.tensor(test.mean, device=device),
        torch.tensor(test.std, device=device),
        resolve_precision(Recipe(**identity["recipe"]), device),
    )
    return accuracy, loss, int(json.loads(header["report"])["epoch"])


def main() -> int:
    """Runs the command line and returns its exit code."""
    return run_app(app, user_errors=(TrainablesError,))


if __name__ == "__main__":
    sys.exit(main())
