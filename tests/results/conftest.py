"""What tests of the leaderboard's command share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from results.console import run_app
from results.leaderboard import app


@pytest.fixture
def shown(storage: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs the command on the test's `storage` in this process and returns its exit code, stdout and stderr."""

    def run(*arguments: str, columns: int = 100) -> tuple[int, str, str]:
        monkeypatch.setenv("COLUMNS", str(columns))
        code = run_app(app, ["--storage", str(storage), *arguments])
        output = capsys.readouterr()
        return code, output.out, output.err

    return run
