"""The leaderboard's command line, as a user meets it."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
import typer

import results
from results.console import run_app
from results.errors import ResultsError
from results.leaderboard import app, leaderboard_command
from results.ranking.board import RANKED_SCHEMA
from results.ranking.query import rank_trials
from results.ranking.ranking_rule import RANKING_RULE
from results.ranking.rendering import OutputFormat, format_of
from tests.support.processes import session
from tests.support.results_fixtures import write_run


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    write_run(tmp_path / "runs" / "alpha")
    return tmp_path / "runs"


def run_python(*arguments: object, **environment: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, env={**os.environ, **environment}, check=False)


def test_the_module_runs_without_a_warning(storage: Path) -> None:
    done = run_python("-W", "error", "-m", "results.leaderboard", "--storage", storage, "alpha", COLUMNS="110")
    assert (done.returncode, done.stderr) == (0, b"")
    lines = [line.rstrip() for line in done.stdout.decode().splitlines()]
    assert re.split(r"\s{2,}", lines[0]) == [
        *(
            "rank",
            "trial",
            "status",
            "blocks",
            "channels",
            "extras",
            "params",
            "val",
            "test",
            "epochs",
            "rung",
            "mid-course",
        )
    ]
    assert re.split(r"\s{2,}", lines[2].strip()) == [
        *("1", "2", "completed", "2-2", "16-32", "20,000", "90.00 %", "88.00 %", "4", "2")
    ]
    assert RANKING_RULE in " ".join(lines)
    assert "Mixed fidelities: accuracies after 2 and 4 epochs" in " ".join(lines)


@pytest.mark.parametrize("columns", [60, 80, 200])
def test_the_table_fits_the_terminal_with_whole_cells(shown: Any, storage: Path, columns: int) -> None:
    write_run(storage / "a-run-with-a-long-name")
    code, output, _ = shown("--top", "12", columns=columns)
    assert code == 0
    assert max(map(len, output.splitlines())) <= columns
    assert "…" not in output
    assert ("Left out at this width" in output) == (columns < 200)
    for needed in ("90.00 %", "a-run-with-a-long-name"):
        assert needed in output
    if columns == 200:
        assert "stem24 bias1" in output
        assert "OutOfMemoryError: [red]no memory[/red]" in output


def test_ten_rows_for_people_and_all_for_machines(shown: Any, storage: Path) -> None:
    write_run(storage / "beta")
    code, output, _ = shown()
    assert code == 0
    assert "10 of 12 trials; --top 12 shows all." in output
    rows = list(csv.DictReader(io.StringIO(shown("--format", "csv")[1])))
    assert len(rows) == 12
    assert list(rows[0]) == RANKED_SCHEMA.names
    assert (rows[0]["rank"], rows[0]["blocks"], rows[-1]["rank"]) == ("1", "2-2", "")


def test_json_has_all_columns_with_lists_and_nulls(shown: Any) -> None:
    rows = json.loads(shown("--format", "json")[1], parse_constant=pytest.fail)
    assert [row["trial"] for row in rows] == [2, 0, 1, 3, 4, 5]
    assert list(rows[0]) == RANKED_SCHEMA.names
    assert (rows[0]["blocks"], rows[0]["conv_bias"], rows[0]["recipe_step_epochs"]) == ([2, 2], False, None)
    assert (rows[5]["rank"], rows[5]["val_accuracy"]) == (None, None)


def test_markdown_is_a_table_with_one_width(shown: Any) -> None:
    output = shown("--format", "markdown", "--top", "3")[1]
    table = [line for line in output.splitlines() if line.startswith("|")]
    assert len(table) == 5
    assert {line.count("|") for line in table} == {table[0].count("|")}
    assert RANKING_RULE in output


def test_every_format_goes_to_a_file(shown: Any, tmp_path: Path) -> None:
    for name in ("table", "csv", "json", "markdown", "parquet"):
        assert shown("--format", name, "--output", str(tmp_path / name)) == (0, "", "")
    assert pq.ParquetFile(tmp_path / "parquet").schema_arrow.equals(RANKED_SCHEMA)
    assert pq.ParquetFile(tmp_path / "parquet").metadata.num_rows == 6
    assert len(json.loads((tmp_path / "json").read_text())) == 6
    assert (tmp_path / "csv").read_text().startswith("rank,run,trial,")
    assert "extras" in (tmp_path / "table").read_text()


def test_parquet_goes_through_a_pipe_but_not_to_a_terminal(
    storage: Path, capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["--storage", str(storage), "--format", "parquet"]
    assert run_app(app, command) == 0
    assert pq.ParquetFile(io.BytesIO(capfdbinary.readouterr().out)).metadata.num_rows == 6
    leader, follower = os.openpty()
    with open(follower, "w") as terminal, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", terminal)
        assert run_app(app, command) == 2
    os.close(leader)
    message = b"error: format: parquet is binary, but stdout is a terminal; add --output FILE or use a pipe\n"
    assert capfdbinary.readouterr().err == message


def test_the_curves_of_the_trials_shown_go_to_a_spreadsheet(shown: Any, storage: Path, tmp_path: Path) -> None:
    write_run(storage / "beta")
    path = tmp_path / "curves.csv"
    code, _, stderr = shown("--where", "status = 'completed'", "--curves", str(path))
    assert (code, stderr) == (0, "")
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    expected = [
        {name: "" if value is None else value for name, value in row.items()}
        for run in ("alpha", "beta")
        for row in results.read_run(storage / run).epochs.to_pylist()
        if row["trial"] in (0, 2)
    ]
    assert len(rows) == len(expected) == 2 * 2 * 4
    for row, wanted in zip(rows, expected, strict=True):
        assert {name: type(wanted[name])(text) for name, text in row.items()} == wanted
    assert shown("--where", "params < 0", "--curves", str(path), "--force")[0] == 0
    assert path.read_text().count("\n") == 1
    code, _, stderr = shown("--curves", str(tmp_path / "no" / "curves.csv"))
    assert (code, stderr.count("\n")) == (2, 1)
    assert "name a file in a folder that exists" in stderr


@pytest.mark.parametrize("flag", ["--output", "--curves"])
def test_a_file_is_replaced_with_force_alone(flag: str, shown: Any, tmp_path: Path) -> None:
    path = tmp_path / "there.csv"
    path.write_text("precious\n")
    code, _, stderr = shown(flag, str(path))
    assert (code, stderr) == (
        2,
        f"error: {flag[2:]}: {path} exists; name another file, or replace it with --force\n",
    )
    assert path.read_text() == "precious\n"
    assert shown(flag, str(path), "--force")[0] == 0
    assert path.read_text().startswith(("rank,", '"run"'))


DYING = """
import os, signal, sys
from pathlib import Path
from results.record.files import replace_file
os.fsync = lambda handle: os.kill(os.getpid(), signal.SIGKILL)
replace_file(Path(sys.argv[1]), b"new" * 1000)
"""


def test_a_file_is_whole_whatever_ends_its_writer(storage: Path, tmp_path: Path) -> None:
    path = tmp_path / "board.csv"
    path.write_text("precious\n")
    assert run_python("-c", DYING, path).returncode == -signal.SIGKILL
    assert path.read_text() == "precious\n"
    limited = "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100)); import results.leaderboard"
    command = f"{limited} as it; sys.exit(it.main())"
    outcome = run_python("-c", command, "--storage", storage, "--output", path, "--force")
    assert (outcome.returncode, outcome.stdout) == (2, b"")
    assert outcome.stderr.decode().startswith(f"error: {path}: File too large; ")
    assert path.read_text() == "precious\n"
    assert [other.name for other in tmp_path.iterdir() if other.is_file()] == ["board.csv"]


@pytest.mark.parametrize("flag", ["--output", "--curves"])
def test_a_runs_own_files_are_never_written_over(flag: str, shown: Any, storage: Path) -> None:
    for name in ("record.jsonl", "trials.parquet", "new.csv"):
        path = storage / "alpha" / name
        before = path.read_bytes() if path.exists() else None
        code, _, stderr = shown(flag, str(path))
        assert (code, stderr.count("\n")) == (2, 1)
        assert f"{flag[2:]}: {path} is in the folder of a run" in stderr
        assert (path.read_bytes() if path.exists() else None) == before


def test_board_and_curves_are_two_files(shown: Any, tmp_path: Path) -> None:
    path = str(tmp_path / "same.csv")
    code, _, stderr = shown("--output", path, "--curves", path)
    assert (code, stderr) == (2, f"error: curves: {path} is also --output; name two different files\n")


def test_filter_sort_and_fidelity_reach_the_rows(shown: Any) -> None:
    def trials(*arguments: str) -> list[str]:
        return [row["trial"] for row in csv.DictReader(io.StringIO(shown("--format", "csv", *arguments)[1]))]

    assert trials("--where", "params > 15000") == ["2", "1"]
    assert trials("--sort", "-params", "--top", "2") == ["1", "2"]
    assert trials("--full-fidelity") == ["2", "0"]


def test_a_filter_that_keeps_nothing_says_so(shown: Any) -> None:
    code, _, errors = shown("--where", "params < 0")
    assert (code, errors) == (0, "note: no trial matches\n")


def test_notes_on_damage_go_to_stderr(shown: Any, storage: Path) -> None:
    (storage / "broken").mkdir()
    (storage / "broken" / "trials.parquet").write_bytes(b"")
    code, output, errors = shown("--format", "json")
    assert code == 0
    assert len(json.loads(output)) == 6
    assert errors.startswith("note: ")
    assert "broken/trials.parquet: damaged" in errors


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--topp", "3"], "no such option --topp; did you mean --top?"),
        (["--pareeto"], "no such option --pareeto; did you mean --pareto?"),
        (["--plot"], "no such option --plot (see "),
        (["--top", "0"], "--top"),
        (["--top", "many"], "--top"),
        (["--top"], "'--top' requires an argument"),
        (["--format", "xml"], "'parquet'"),
        (["--where", "parms > 1"], "'parms' is not a column; use params"),
        (["--where", "1; DROP TABLE trials"], "give one condition on the columns"),
        (["--sort", "acuracy"], "'acuracy' is not a column; use val_accuracy"),
        (["alhpa"], "no run 'alhpa'; "),
        (["--output", "absent/file"], "output: absent/file cannot be written; name a file in a folder that exists"),
        (["--output", os.devnull, "--force"], "is a device or a pipe"),
        (["--force"], "--force is for --output and --curves"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(shown: Any, arguments: list[str], message: str) -> None:
    code, output, errors = shown(*arguments)
    assert (code, output) == (2, "")
    assert errors.startswith("error: ")
    assert errors.count("\n") == 1
    assert message in errors


def test_an_empty_storage_says_how_to_start(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_app(app, ["--storage", str(tmp_path / "runs")]) == 2
    assert capsys.readouterr().err == (
        f"error: no runs in {tmp_path / 'runs'}; start a search with `python -m search.run` or name another --storage\n"
    )


def test_help_documents_every_option_and_ends_with_examples(shown: Any) -> None:
    code, output, _ = shown("--help")
    assert code == 0
    for option in ("--storage", "--top", "--where", "--sort", "--full-fidelity", "--format", "--output", "--help"):
        assert re.search(rf"{option}\b[^\n]*\n?\s+[A-Z]", output), option
    head, _, examples = output.partition("Example:\n")
    assert head
    assert [line.split()[:3] for line in examples.strip().splitlines()] == [["python", "-m", "results.leaderboard"]] * 5


def test_the_examples_of_the_help_run(shown: Any, storage: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    (storage / "alpha").rename(storage / "my-run")
    examples = shown("--help")[1].partition("Example:\n")[2]
    for line in examples.strip().splitlines():
        assert run_app(app, shlex.split(line)[3:]) == 0
    assert (tmp_path / "leaderboard.csv").exists()


def test_help_waits_for_no_heavy_import() -> None:
    code = "import sys, results.leaderboard; print(sorted({'pandas', 'pyarrow', 'duckdb'} & set(sys.modules)))"
    assert run_python("-c", code).stdout == b"[]\n"


def test_the_package_imports_no_sibling_and_no_framework() -> None:
    code = (
        "import sys, results, results.leaderboard, results.ranking.terminal\n"
        "[getattr(results, name) for name in dir(results)]\n"
        "print(sorted({'torch', 'ray', 'optuna', 'search', 'model_zoo', 'trainables'} & set(sys.modules)))"
    )
    assert run_python("-c", code).stdout == b"[]\n"


def test_the_public_names_are_sorted_and_there() -> None:
    names = [name for name in dir(results) if not name.startswith("_")]
    assert names == sorted(names)
    assert [getattr(results, name).__name__ for name in names] == names
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        getattr(results, "nothing")  # noqa: B009


def test_a_reader_that_leaves_is_no_error(storage: Path) -> None:
    command = [sys.executable, "-m", "results.leaderboard", "--storage", str(storage), "--format", "json"]
    with session(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait() == 0


def test_the_command_mounts_in_another_application(storage: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outer = typer.Typer(add_completion=False, rich_markup_mode=None)
    outer.command("leaderboard")(leaderboard_command)
    outer.command("other")(lambda: None)
    assert run_app(outer, ["leaderboard", "--storage", str(storage), "--format", "csv"]) == 0
    assert capsys.readouterr().out.startswith("rank,")
    assert run_app(outer, ["leader"]) == 2
    assert capsys.readouterr().err.startswith("error: ")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.csv", "csv"),
        ("a.JSON", "json"),
        ("a.md", "markdown"),
        ("a.parquet", "parquet"),
        ("a", "table"),
        ("a.tex", "latex"),
        ("a.xlsx", "xlsx"),
    ],
)
def test_the_suffix_is_the_format(name: str, expected: str) -> None:
    assert format_of(Path(name)) is OutputFormat(expected)
    assert format_of(None) is OutputFormat.table


def test_a_suffix_without_a_format_is_refused() -> None:
    with pytest.raises(ResultsError, match=r"output: \.ods is not a known suffix; use \.csv"):
        format_of(Path("board.ods"))


def test_a_csv_file_holds_every_column(tmp_path: Path) -> None:
    write_run(tmp_path / "runs" / "one")
    assert run_app(app, ["one", "--storage", str(tmp_path / "runs"), "--output", str(tmp_path / "board.csv")]) == 0
    assert {"recipe_optimizer", "retries", "reused"} <= set(pd.read_csv(tmp_path / "board.csv").columns)


@pytest.mark.parametrize(
    ("name", "column"), [("-val", "-val_accuracy"), ("accuracy", "val_accuracy"), ("-lr", "-recipe_learning_rate")]
)
def test_a_heading_sorts_as_its_column(name: str, column: str, tmp_path: Path) -> None:
    write_run(tmp_path / "runs" / "one")
    boards = [rank_trials(tmp_path / "runs", sort=it)["trial"].tolist() for it in (name, column)]
    assert boards[0] == boards[1]


def test_a_share_given_in_percent_is_explained_where_it_matches_nothing(shown: Any) -> None:
    code, _, errors = shown("--where", "val > 95")
    assert code == 0
    assert errors == (
        "note: val_accuracy is a share from 0 to 1, and 95 is given; write 0.95 for 95%\nnote: no trial matches\n"
    )
