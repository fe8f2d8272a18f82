"""What PostgreSQL 15 makes of the SQL files is what 18 makes of them; run by `make postgres15-test`."""

import re
from pathlib import Path

from pgfleet.console.local import embedded
from pgfleet.schema.database.migrate import migrate
from worlds.database import comparable, dump
from worlds.fleet import Connection


def test_the_server_is_the_one_that_this_folder_is_for(conn: Connection) -> None:
    assert conn.info.server_version // 10_000 == 15


def test_the_schema_is_that_of_the_embedded_server(dsn: str, short_dir: Path) -> None:
    newer = embedded.start(short_dir / "data")
    migrate(newer)

    assert alike(dump(dsn)) == alike(dump(newer))


def alike(text: str) -> str:
    """Without what only the version is the reason of.

    The header names it; and since 18 a NOT NULL has a name, which pg_dump gives where it is not the one that
    the table would choose itself: a partition's is its parent's.
    And since 16 a view of one table has its columns without the table's name.
    """
    same_header = re.sub(r"(?m)^-- Dumped from database version .*$", "-- Dumped from some version", comparable(text))
    unnamed = re.sub(r" CONSTRAINT \w+_not_null\d* NOT NULL\b", " NOT NULL", same_header)
    return re.sub(r"(?ms)^CREATE VIEW .*?;$", lambda view: re.sub(r"(\b\w+|\"[^\"]+\")\.", "", view[0]), unnamed)
