"""The list of what a database needs is that of the database that the SQL files make."""

from pgfleet.console.diagram import NEEDED
from pgfleet.schema.database import needed
from worlds.database import Connection


def test_the_list_is_that_of_the_migrated_database(conn: Connection) -> None:
    assert NEEDED.read_text(encoding="utf-8") == needed.render(conn), "run: make generated"
