"""The `pgfleet` command, run by somebody who has a key for the API, and no database."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from worlds.api.server import Api, api_on
from worlds.commands import Pgfleet

NAMED = ("DATABASE_URL", "PGFLEET_DATA_DIR", "PGFLEET_USER", "PGFLEET_URL", "PGFLEET_KEY")


@pytest.fixture
def api(dsn: str) -> Iterator[Api]:
    with api_on(dsn) as running:
        yield running


@pytest.fixture
def nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Pgfleet:
    """Of whom nothing is known: no database, no API, no key."""
    command = Pgfleet("", monkeypatch, capsys)
    for name in NAMED:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return command


@pytest.fixture
def pgfleet(nobody: Pgfleet, api: Api) -> Pgfleet:
    """Of ada, who has logged in."""
    keep(api.url, api.key_of("ada"), nobody.monkeypatch)
    return nobody


def keep(url: str, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a shell does that has the key in its environment."""
    monkeypatch.setenv("PGFLEET_URL", url)
    monkeypatch.setenv("PGFLEET_KEY", key)


def kept(folder: Path) -> dict[str, object]:
    """The file of keys."""
    found: dict[str, object] = json.loads((folder / "config" / "pgfleet" / "credentials.json").read_text("utf-8"))
    return found
