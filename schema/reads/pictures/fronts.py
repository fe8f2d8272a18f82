"""All GPU types at a glance: what is free of each, and the front of each line."""

from collections.abc import Mapping
from datetime import timedelta

from pgfleet.schema.line.asking import without_lines
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.reads.place import Line
from pgfleet.schema.reads.reservation import lines_of, waiting
from pgfleet.schema.rows.row import Row


def fronts(conn: Connection, known: Mapping[str, Row], grace: timedelta, most: int) -> dict[str, Line]:
    """The lines of some GPU types with so many from the front of each; where nobody waits, without what others hold."""
    numbers = waiting(conn, known)
    idle = without_lines(conn, [name for name in known if not numbers.get(name)])
    return {
        **lines_of(conn, {name: known[name] for name in numbers}, numbers, grace, most),
        **{
            name: Line(
                gpu_type=name,
                total=known[name]["total_cluster_gpus"] or 0,
                held=known[name]["held_gpus"],
                is_active=bool(known[name]["is_active"]),
                standing=standing,
            )
            for name, standing in idle.items()
        },
    }
