"""What an operator does to a reservation that is over: one that is not gone is let go of."""

import sqlalchemy as sa

from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.rows.core import fetch, sign


def release_by_force(conn: Connection, row_id: str, who: str) -> bool:
    """Let go of what an ended reservation holds, whether it is gone or not (180); whether there was anything."""
    with conn.transaction():
        sign(conn, who, "released by force")
        (answer,) = fetch(conn, sa.select(sa.func.public.release_by_force(row_id).label("released")))
    return bool(answer["released"])
