"""What the heartbeat worker asks of the database, and what its functions return."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from psycopg.rows import class_row

from pgfleet.schema.heartbeat import Heartbeat, text_of
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.rows.named import named

SQL = named(__package__)
TAKE = {"autoscaler": SQL["take_autoscaler"], "cluster": SQL["take_cluster"]}


@dataclass(frozen=True, slots=True)
class SweepReport:
    """What an offline sweep saw: how many nodes were alive and silent before it, how many it marked.

    `held_back` is why it marked nobody although some were silent.
    """

    machine: str
    swept_at: datetime
    alive: int
    silent: int
    marked: int
    held_back: str | None
    held_back_since: datetime | None
    patient_until: datetime | None


def take(
    conn: Connection, source: str, heartbeats: Sequence[Heartbeat], *, skip_held: bool = False
) -> Iterable[tuple[int, str, str]]:
    """Write heartbeats of one source, in the caller's transaction; (place, verdict, reason) of what needs a word."""
    return conn.execute(TAKE[source], {"heartbeats": text_of(heartbeats), "skip_held": skip_held}).fetchall()


def sweep(
    conn: Connection, silence: timedelta, cluster_intervals: float, most_share: float, *, skip_held: bool = False
) -> list[SweepReport]:
    """Mark silent nodes offline, of both kinds, unless there is a reason to hold back."""
    with conn.cursor(row_factory=class_row(SweepReport)) as cursor:
        asked: list[tuple[bytes, dict[str, Any]]] = [
            (SQL["sweep_nodes"], {"silence": silence, "most_share": most_share}),
            (
                SQL["sweep_cluster_nodes"],
                {"intervals": cluster_intervals, "most_share": most_share, "skip_held": skip_held},
            ),
        ]
        return [report for query, values in asked for report in cursor.execute(query, values).fetchall()]


def roll_up(conn: Connection) -> None:
    """Write the minute's analytics, and what schedules ask of pools now."""
    conn.execute(SQL["roll_up"])
    conn.execute(SQL["apply_schedules"])
