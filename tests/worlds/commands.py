"""What tests of the console share: the `pgfleet` command, run in the test's own process."""

import json
import sys
from dataclasses import dataclass
from typing import Any

import pytest

from pgfleet.console.main import main


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """What is wrong, of a command with --json."""
        told = json.loads(self.err.splitlines()[-1])
        assert told["exit_code"] == self.code
        return str(told["error"])

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Pgfleet:
    """Runs commands as ada, on the test's database."""

    def __init__(self, dsn: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.monkeypatch = monkeypatch
        self.capsys = capsys
        monkeypatch.setenv("DATABASE_URL", dsn)
        monkeypatch.setenv("PGFLEET_USER", "ada")

    def __call__(self, *arguments: str) -> Ended:
        self.monkeypatch.setattr(sys, "argv", ["pgfleet", *arguments])
        self.capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        said = self.capsys.readouterr()
        assert "Traceback" not in said.err
        return Ended(int(end.value.code or 0), said.out, said.err)
