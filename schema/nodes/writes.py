"""What operators change about nodes, pools and schedules, and about clusters (149, 155); each answers with the row.

Errors of the database say what was wrong: PF004 a value that can't be, PF008 no such row, PF013 not in this role.
"""

from collections.abc import Mapping
from typing import Any

from psycopg.types.json import Jsonb

from pgfleet.schema.nodes.keys import SQL
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.rows.named import ask

Fields = Mapping[str, Any]


def change_node(conn: Connection, node: int, changes: Fields) -> dict[str, Any]:
    """Change name, region, ip_address or description; what is not named stays, None empties the last two."""
    return _asked(conn, "change", node=node, changes=Jsonb(changes))


def change_pool(conn: Connection, pool: int, changes: Fields) -> dict[str, Any]:
    """Change name, min_instances, max_instances or is_active; a pool that is switched off here stays so."""
    return _asked(conn, "change_pool", pool=pool, changes=Jsonb(changes))


def add_schedule(conn: Connection, node: int, fields: Fields) -> dict[str, Any]:
    """Make a schedule: name, start_time and end_time (HH:MM, UTC), target_instances; perhaps is_active."""
    return _asked(conn, "set_schedule", schedule=None, node=node, changes=Jsonb(fields))


def change_schedule(conn: Connection, schedule: int, changes: Fields) -> dict[str, Any]:
    """Change fields of a schedule; what is not named stays."""
    return _asked(conn, "set_schedule", schedule=schedule, node=None, changes=Jsonb(changes))


def remove_schedule(conn: Connection, schedule: int) -> None:
    """Delete a schedule; what it asked for is gone with the next minute."""
    conn.execute(SQL["remove_schedule"], {"schedule": schedule})


def call_cluster(conn: Connection, verb: str, arguments: Fields) -> dict[str, Any]:
    """Call a function of document 004, such as `create_cluster`, by the names of its arguments without `p_`.

    Those that return an id answer `{"result": id}`.
    """
    return _asked(conn, "call_cluster", verb=verb, given=Jsonb(arguments))


def _asked(conn: Connection, statement: str, **given: Any) -> dict[str, Any]:
    (row,) = ask(conn, SQL[statement], **given)
    return dict(row["result"])
