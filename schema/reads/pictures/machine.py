"""The arrows of a machine, as the database has them."""

from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.reads.pictures.gpus import SQL
from pgfleet.schema.rows.named import ask
from pgfleet.schema.rows.row import Row


def moves(conn: Connection, machine: str) -> list[Row]:
    """From which state a row may come to which, and when."""
    return ask(conn, SQL["moves"], machine=machine)
