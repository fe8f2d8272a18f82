"""A page may be asked for up to a position, which is what joins the past to what comes."""

from pgfleet.schema.feed import reading
from worlds.database import Connection
from worlds.feed.moves import make


def test_a_page_ends_at_the_position_that_is_given(conn: Connection) -> None:
    start = reading.end(conn)
    for row_id in ("a", "b", "c"):
        make(conn, row_id)
    first, second, _ = reading.read(conn, start).events

    assert [event.row_id for event in reading.read(conn, start, upto=second.position).events] == ["a", "b"]
    assert reading.read(conn, first.position, upto=first.position).events == []
    assert reading.read(conn, start, upto=start).cursor == start
