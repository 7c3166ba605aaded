"""`python -m search.keys`: writes docs/configuration.md, the reference of the configuration's keys, or checks it."""

from __future__ import annotations

import sys

from search.process import check_origin

check_origin()  # before the first import of a sibling, which might be another distribution's

from pathlib import Path  # noqa: E402
from typing import Annotated  # noqa: E402

import typer  # noqa: E402

from results.console import VersionOption, run_app  # noqa: E402
from search.config.reference import all_keys, as_markdown  # noqa: E402
from search.run import key_flags  # noqa: E402

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(name="keys")
def keys_command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Markdown file to write or to check.")],
    check: Annotated[bool, typer.Option("--check", help="Write nothing; exit with 1 if FILE is not current.")] = False,
    version: VersionOption = False,
) -> int:
    """Write the reference of every configuration key as Markdown.

    \b
    Example:
      python -m search.keys docs/configuration.md
      python -m search.keys docs/configuration.md --check
    """
    page = as_markdown(all_keys(key_flags()))
    if not check:
        file.write_text(page, encoding="utf-8")
    elif not file.exists() or file.read_text(encoding="utf-8") != page:
        found = "is not current" if file.exists() else "does not exist"
        typer.echo(f"error: {file} {found}; run make docs", err=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(run_app(app))
