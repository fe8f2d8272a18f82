"""The next version of pgfleet: a copy of the program with a migration, another function and a newer contract."""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pgfleet.schema.database.catalog import SqlFile, sql_files
from pgfleet.schema.database.things import digest
from pgfleet.schema.messages import CONTRACT
from worlds.fleet import REPOSITORY

PARTS = ("console", "producers", "workers", "schema", "fixtures")
NEW_FILE = "099_the_next_version"
COLUMN = "noted_by_the_next_version"
# As every release does it: a column that older programs need not know, and functions made anew.
ADDED = f"""-- 099: what only the next version writes.
alter table public.reservations add column if not exists {COLUMN} text;
"""


@dataclass(frozen=True)
class Version:
    """A tree of the program; `environment` is what makes a process run it."""

    source: Path
    contract: int

    @property
    def environment(self) -> dict[str, str]:
        return {"PYTHONPATH": str(self.source)}


def next_version(folder: Path) -> Version:
    """A copy of this one, changed as the next one may be."""
    source = folder / "next" / "src"
    package = source / "pgfleet"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text((REPOSITORY / "src/pgfleet/__init__.py").read_text("utf-8"), "utf-8")
    for part in PARTS:
        shutil.copytree(REPOSITORY / part, package / part, ignore=shutil.ignore_patterns("__pycache__"))
    (package / f"schema/{NEW_FILE}.sql").write_text(ADDED, "utf-8")
    _change(package / "schema/messages.py", rf"^CONTRACT = {CONTRACT}$", f"CONTRACT = {CONTRACT + 1}")
    for late in (package / "schema").glob("1*.sql"):
        late.write_text(f"{late.read_text('utf-8')}\n-- Of the next version.\n", "utf-8")
    _list_it(package)
    return Version(source, CONTRACT + 1)


def migrated_by(version: Version, dsn: str) -> None:
    environment = {**os.environ, **version.environment, "DATABASE_URL": dsn}
    command = [sys.executable, "-m", "pgfleet.console.main", "migrate"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def _change(path: Path, what: str, to: str) -> None:
    text, changed = re.subn(what, to, path.read_text("utf-8"), flags=re.MULTILINE)
    assert changed == 1, f"{path} has {changed} of {what}"
    path.write_text(text, "utf-8")


def _list_it(package: Path) -> None:
    """What `make generated` would write there."""
    path = package / "schema/database/things.json"
    listed: dict[str, Any] = json.loads(path.read_text("utf-8"))
    listed["things"]["column"][f"public.reservations.{COLUMN}"] = ["text"]
    listed["files"] = digest(files_of(package))
    path.write_text(json.dumps(listed), "utf-8")


def files_of(package: Path) -> list[SqlFile]:
    """Its SQL files, in the order in which they are applied."""
    return [
        SqlFile(f"{folder}/{path.stem}", path.read_text("utf-8"))
        for folder in ("schema", "fixtures")
        for path in sorted((package / folder).glob("*.sql"))
    ]


def as_if_all_had_changed() -> list[str]:
    """Names of the files that are applied again by whoever has others of them."""
    return [file.version for file in sql_files() if file.may_change]
