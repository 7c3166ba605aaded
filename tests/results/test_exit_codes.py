"""Exit codes and messages of every command: a mistake is one line, a bug keeps its traceback."""

from __future__ import annotations

import pytest
import typer

from results.console import UserError, run_app


class Mistake(ValueError):
    """A sibling package's error, which cannot subclass UserError."""


def failing(error: BaseException) -> typer.Typer:
    application = typer.Typer(add_completion=False)

    @application.command()
    def fail() -> None:
        raise error

    return application


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (UserError("two\nlines"), 2, "error: two lines\n"),
        (Mistake("9 exceeds 8; lower it"), 2, "error: 9 exceeds 8; lower it\n"),
        (typer.Exit(1), 1, ""),
        (typer.Abort(), 130, ""),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_exit_codes_are_the_same_everywhere(
    error: BaseException, code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_app(failing(error), [], user_errors=(Mistake,)) == code
    assert capsys.readouterr().err == message


def test_a_bug_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        run_app(failing(ZeroDivisionError()), [])
