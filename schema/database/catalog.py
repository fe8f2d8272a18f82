"""The SQL files of the program, and the functions and views that they make."""

import hashlib
import re
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.resources import files

# In the order in which they are applied.
_FOLDERS = ("schema", "fixtures")
_MADE = re.compile(r"(?m)^create (?:or replace )?(function|view) ([\w.]+)")
# As whoever sends may call them, and as they call one another.
OF_PGMQ = (
    "pgmq.create(text)",
    "pgmq.send(text,jsonb)",
    "pgmq.send(text,jsonb,integer)",
    "pgmq.send(text,jsonb,timestamp with time zone)",
    "pgmq.send(text,jsonb,jsonb)",
    "pgmq.send(text,jsonb,jsonb,integer)",
    "pgmq.send(text,jsonb,jsonb,timestamp with time zone)",
    "pgmq.send_batch(text,jsonb[])",
    "pgmq.send_batch(text,jsonb[],jsonb[],timestamp with time zone)",
)


@dataclass(frozen=True)
class SqlFile:
    """One numbered file; `version` is its folder and name: `schema/001_users_and_keys`."""

    version: str
    text: str

    @cached_property
    def checksum(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()

    @property
    def may_change(self) -> bool:
        """Whether it is applied again when it changed: fixtures, and functions, triggers and views, from 100 on."""
        folder, _, name = self.version.partition("/")
        return folder == "fixtures" or name >= "1"

    def function(self, name: str) -> str:
        """The statement that makes a function, alone; nothing where the file makes none of that name."""
        found = re.search(
            rf"(?ms)^create or replace function {re.escape(name)}\(.*?\bas (\$\$.*?\$\$|'.*?');$", self.text
        )
        return found[0] if found else ""

    def place(self, position: str | None) -> str:
        """Where a server found an error, `schema/010_runtime.sql:12`; without a line where it did not say."""
        lines = "" if position is None else f".sql:{self.text[: int(position) - 1].count(chr(10)) + 1}"
        return f"{self.version}{lines}"

    def made(self, kind: str) -> list[str]:
        """The names of the functions, or of the views, that it makes: `public.keep_house`."""
        return [name for found, name in _MADE.findall(self.text) if found == kind]


def is_ours(version: str) -> bool:
    """Whether a recorded migration is one of this program's; its table may be shared with others."""
    return version.startswith(tuple(f"{folder}/" for folder in _FOLDERS))


def sql_files() -> list[SqlFile]:
    """Every SQL file of the program, schema first, in the order of their names."""
    return [file for folder in _FOLDERS for file in _read(folder)]


@cache
def functions() -> tuple[str, ...]:
    """What the files make, and what they need of PGMQ."""
    return tuple(sorted({*OF_PGMQ, *(name for file in sql_files() for name in file.made("function"))}))


@cache
def views() -> tuple[str, ...]:
    return tuple(sorted(name for file in sql_files() for name in file.made("view")))


@cache
def _read(folder: str) -> list[SqlFile]:
    # Read as text, the same file checked out on Windows is the same file.
    found = [
        SqlFile(f"{folder}/{path.name.removesuffix('.sql')}", path.read_text("utf-8"))
        for path in files(f"pgfleet.{folder}").iterdir()
        if path.name.endswith(".sql")
    ]
    return sorted(found, key=lambda file: file.version)
