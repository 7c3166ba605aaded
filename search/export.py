"""`python -m search.export`: writes a trial's network to a file, with its preparation and a model card."""

from __future__ import annotations

import sys

from search.process import check_origin, repair_environment

check_origin()  # before the first import of a sibling, which might be another distribution's

from pathlib import Path  # noqa: E402
from typing import Annotated, Literal  # noqa: E402

import typer  # noqa: E402

from results.console import VersionOption, run_app  # noqa: E402
from results.record.files import require_writable  # noqa: E402
from results.record.folders import is_run  # noqa: E402
from search.errors import SearchError  # noqa: E402
from trainables.errors import TrainablesError  # noqa: E402

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(name="export")
def export_command(
    run: Annotated[str, typer.Argument(metavar="RUN[:TRIAL]", help="Run and trial; by default its best one.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="File to write: .pt2, .onnx or .safetensors.")
    ],
    storage: Annotated[Path, typer.Option(metavar="DIR", help="Folder that holds the runs.")] = Path("runs"),
    size: Annotated[
        Literal["any", "trained"],
        typer.Option(help="Images that the file takes: of any size, or prepared ones of the size trained on."),
    ] = "any",
    card: Annotated[Path | None, typer.Option(metavar="FILE", help="Also write a model card in Markdown.")] = None,
    license_name: Annotated[
        str | None, typer.Option("--license", metavar="NAME", help="The licence that the model card names.")
    ] = None,
    onnx_check: Annotated[
        bool, typer.Option("--onnx-check", help="Check an .onnx file that exists with onnxruntime, and write nothing.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the files of --output and --card.")] = False,
    version: VersionOption = False,
) -> None:
    """Write the network of a trial to a file: decoded images in, one logit per class out.

    PyTorch opens a .pt2 file and onnxruntime an .onnx file, both without parambudget; .safetensors are the weights. The
    test set is not opened, and the run does not change.

    \b
    Example:
      python -m search.export my-run -o best.pt2
      python -m search.export my-run:7 -o seven.onnx --card seven.md --license Apache-2.0
      python -m search.export my-run -o best.onnx --onnx-check
    """
    from search.evaluation.export import check_export, write_export

    name, trial = split_trial(storage, run)
    if onnx_check:
        if card is not None or license_name is not None or force:
            raise SearchError("--onnx-check writes nothing; leave out --card, --license and --force")
        typer.echo(check_export(storage, name, trial, output, size))
        return
    if license_name is not None and card is None:
        raise SearchError("--license is for the model card; add --card FILE, or leave it out")
    if card is not None and card.absolute() == output.absolute():
        raise SearchError(f"card: {card} is also --output; name two different files")
    require_writable("output", output, force=force)
    if card is not None:
        require_writable("card", card, force=force)
    typer.echo(write_export(storage, name, trial, output, size, card, license_name))


def split_trial(storage: Path, given: str) -> tuple[str, int | None]:
    """The run and the trial that RUN:TRIAL names; the trial is None if only a run is named, which may have a colon."""
    run, colon, number = given.rpartition(":")
    if colon and number.isdecimal() and number.isascii() and not (is_run(storage / given) or is_run(Path(given))):
        return run, int(number)
    return given, None


def main() -> int:
    """Runs the command line and returns its exit code."""
    repair_environment()
    return run_app(app, user_errors=(TrainablesError,))


if __name__ == "__main__":
    sys.exit(main())
