"""Runs every command line of the project, and turns a user's mistake into one line on stderr and exit code 2."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from typer.core import TyperCommand

from results.errors import UserError
from results.streams import discard, prepare_streams
from results.wording import USUAL_NAMES, remedy_of

__all__ = ["UserError", "VersionOption", "grouped", "run_app"]

# typer's copy of click is private, and in older versions it is click itself, so its base error is found this way
_CommandLineError: Final[type[Exception]] = next(
    base for base in typer.BadParameter.__mro__ if issubclass(base, Exception) and base.__name__ == "ClickException"
)


DISTRIBUTION: Final = "parambudget"


def version_of(distribution: str, folder: Path) -> str:
    """The version of an installed distribution, else the one in the pyproject.toml of `folder`, else `unknown`."""
    from importlib import metadata  # it loads the email package, 15 ms

    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        pass
    try:
        import tomllib

        return str(tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"])
    except (OSError, ValueError, KeyError):
        return "unknown"


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"{DISTRIBUTION} {version_of(DISTRIBUTION, Path(__file__).resolve().parent.parent)}")
        raise typer.Exit


VersionOption = Annotated[
    bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version and exit.")
]
"""The parameter that lets a command print the version."""


def grouped(groups: Mapping[str, Sequence[str]]) -> type[TyperCommand]:
    """A class of commands whose help lists the options, by their parameters' names, under the titles of `groups`.

    Options of no group follow under `Options`. typer has `rich_help_panel` for this, but only with rich's markup.
    """

    class Grouped(TyperCommand):
        def format_options(self, ctx: Any, formatter: Any) -> None:
            titles = {name: title for title, names in groups.items() for name in names}
            sections: dict[str, list[tuple[str, str]]] = {"Arguments": [], **{title: [] for title in groups}}
            for parameter in sorted(self.get_params(ctx), key=lambda it: _place(it.name, list(titles))):
                title = titles.get(str(parameter.name), "Options")
                record = parameter.get_help_record(ctx)
                if record is not None:
                    argument = parameter.param_type_name == "argument"
                    sections.setdefault("Arguments" if argument else title, []).append(record)
            for title, records in sections.items():
                if records:
                    with formatter.section(title):
                        formatter.write_dl(records)

    return Grouped


def _place(name: str | None, order: Sequence[str]) -> int:
    return order.index(name) if name in order else len(order)


def run_app(app: typer.Typer, argv: list[str] | None = None, *, user_errors: tuple[type[Exception], ...] = ()) -> int:
    """Runs a command line and returns its exit code: what the command returns or raises as `typer.Exit`, or else 0.

    `argv` does not include the program's name and defaults to the process's arguments. A usage error, a UserError or
    one of `user_errors` gives one line `error: ...` on stderr and 2, and so does a file or stream that the system
    refuses. Ctrl-C gives 130, and a closed pipe gives 0. Other exceptions pass through.
    """
    prepare_streams()
    command = typer.main.get_command(app)
    mistakes: tuple[type[Exception], ...] = (UserError, *user_errors)
    try:
        result = command.main(args=argv, standalone_mode=False)
        sys.stdout.flush()
    except _CommandLineError as error:
        return _fail(_usage_message(error), int(getattr(error, "exit_code", 2)))
    except mistakes as error:
        return _fail(str(error) or type(error).__name__, 2)
    except (KeyboardInterrupt, typer.Abort):
        return 130
    except BrokenPipeError:
        return _leave_pipe()
    except OSError as error:
        message = _refusal(error)
        if message is None:
            raise
        return _fail(message, 2)
    except SystemExit as error:
        if isinstance(error.__context__, BrokenPipeError):  # typer turns it into an exit with code 1
            return _leave_pipe()
        raise
    return result if isinstance(result, int) else 0


_OF_PLACE: Final = frozenset(
    {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG}
)
"""What the system answers to a path that this user may not use or that cannot be what it is taken for."""
_OF_STREAM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})


def _refusal(error: OSError) -> str | None:
    """The message for a place that the user has to change; None for other errors."""
    if error.filename is not None and error.errno in _OF_PLACE:
        path = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else str(error.filename)
        return f"{path}: {(error.strerror or str(error)).lower()}; name another place, or change its permissions"
    if error.filename is None and error.errno in _OF_STREAM:
        try:  # a stream that has failed may have dropped its content, so only another byte tells whether it was stdout
            sys.stdout.write("\n")
            sys.stdout.flush()
        except OSError:
            discard(sys.stdout.fileno())
            return f"stdout cannot be written ({error.strerror}); free space, or send the output to another file"
    return None


def _fail(message: str, code: int) -> int:
    typer.echo(f"error: {' '.join(message.split())}", err=True)
    return code


def _usage_message(error: Any) -> str:
    message = error.format_message().rstrip(".")
    if hasattr(error.__cause__, "errors"):  # typer converts values with pydantic, whose message omits the value
        (item, *_) = error.__cause__.errors()
        place = " / ".join(error.param.opts) if error.param is not None else "value"
        remedy = remedy_of(item).rstrip(".")
        given = f"{item['input']!r} given; "
        message = f"{place}: {'' if repr(item['input']) in remedy else given}{remedy}"
    context = getattr(error, "ctx", None)
    if context is None:
        return str(message)
    option = getattr(error, "option_name", None)
    if option is not None and "No such option" in message:
        known = [name for parameter in context.command.params for name in (*parameter.opts, *parameter.secondary_opts)]
        names = {name.lstrip("-"): name for name in [*known, "--help"] if name.startswith("-")}
        near = get_close_matches(option.lstrip("-"), names, n=1)  # by its words: the dashes are in every name
        meant = f"; did you mean {names[near[0]]}?" if near else ""
        usual = USUAL_NAMES.get(option.lstrip("-").replace("-", "_").lower(), "")
        if not near and usual and "--set" in known:
            meant = f"; did you mean --set {usual}=VALUE?"
        message = f"no such option {option}{meant}"
    return f"{message} (see {context.command_path} --help)"


def _leave_pipe() -> int:
    """Redirects stdout to /dev/null, so that the interpreter's last flush does not fail, and returns 0."""
    discard(sys.stdout.fileno())
    return 0
