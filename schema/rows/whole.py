"""Statements that read whole tables, such as sweeps do, and compare them with a queue."""

from pgfleet.schema.queue.kernel import Connection

_NO_NESTED_LOOPS = "select set_config('enable_nestloop', 'off', true)"


def join_by_hash(conn: Connection) -> None:
    """Join tables by hash for the rest of the transaction, or of the pipeline: each is read once.

    Statistics may say that a table is empty, from when it was. Then a planner would read it again for each row of
    another, which takes hours once there are many of both. A few rows are better found by an array of their keys.
    """
    conn.execute(_NO_NESTED_LOOPS)
