"""Pools and schedules as operators see them, of one node or of all: a page at a time, after the number of the last."""

from pgfleet.schema.nodes.keys import SQL
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.rows.named import ask
from pgfleet.schema.rows.row import Row

PAGE = 200


def pools(conn: Connection, node: int | None = None, *, after: int = 0, most: int = PAGE) -> list[Row]:
    """Pools with their limits, what is there now, and what a schedule asks for (`target_instances`)."""
    return ask(conn, SQL["pools"], node=node, after=after, most=most)


def pool_number(conn: Connection, oracle_pool_id: str) -> int | None:
    """The number of a pool by the id that its cloud gave it."""
    found = ask(conn, SQL["pool_number"], pool=oracle_pool_id)
    return int(found[0]["id"]) if found else None


def schedules(conn: Connection, node: int | None = None, *, after: int = 0, most: int = PAGE) -> list[Row]:
    """Schedules; their times are UTC."""
    return ask(conn, SQL["schedules"], node=node, after=after, most=most)
