"""Mistakes made on purpose, from the TOML files beside: text of a file that becomes another, and who should find it."""

import tomllib
from pathlib import Path
from typing import NamedTuple


class Mutation(NamedTuple):
    """`old` is in the file once; `name` says what is wrong then; `tests` are files or folders."""

    name: str
    file: str
    old: str
    new: str
    tests: list[str]


def mutations() -> list[Mutation]:
    files = sorted(Path(__file__).parent.glob("*.toml"))
    return [Mutation(**each) for file in files for each in tomllib.loads(file.read_text("utf-8"))["mutation"]]
