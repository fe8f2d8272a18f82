"""Databases of before the SQL files were put in order: known by `before.json`, and brought over whole."""

import json
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from pgfleet.schema.database.catalog import SqlFile


def is_of_before(recorded: Mapping[str, str | None], now: list[SqlFile]) -> bool:
    """Whether all that a database has seen are the files of before, and one of them is no longer what it was."""
    of_before = _read()["files"]
    checksums = {file.version: file.checksum for file in now}
    all_known = all(checksum in of_before.get(version, ()) for version, checksum in recorded.items())
    return all_known and any(checksums.get(version) != checksum for version, checksum in recorded.items())


def made_before() -> set[str]:
    """The functions of before that no file makes any more."""
    return set(_read()["made"])


def _read() -> Any:
    return json.loads(files("pgfleet.schema.database").joinpath("before.json").read_text("utf-8"))
