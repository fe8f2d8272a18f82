"""What PostgreSQL 15 makes of the SQL files is what 18 makes of them; run by `make postgres15-test`."""

from pathlib import Path

from fleet import Connection
from test_migrate import dump, timeless

from console import embedded
from schema.migrate import migrate


def test_the_server_is_the_one_that_this_folder_is_for(conn: Connection) -> None:
    assert conn.info.server_version // 10_000 == 15


def test_the_schema_is_that_of_the_embedded_server(dsn: str, short_dir: Path) -> None:
    newer = embedded.start(short_dir / "data")
    migrate(newer)

    assert alike(dump(dsn)) == alike(dump(newer))


def alike(text: str) -> list[str]:
    return timeless(text).splitlines()
