"""What the heartbeat worker asks of the database: the functions of its SQL files, and what they return."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from psycopg.rows import class_row

from pgfleet.schema.heartbeat import Heartbeat, text_of
from pgfleet.schema.queue.kernel import Connection

TAKE = {
    "autoscaler": "select place, verdict, reason from autoscaler.take_heartbeats(%s::jsonb, %s)",
    "cluster": "select place, verdict, reason from clusters.take_heartbeats(%s::jsonb, %s)",
}
SWEEP_NODES = "select * from autoscaler.sweep_offline(%s, %s)"
SWEEP_CLUSTER_NODES = "select * from clusters.sweep_offline(%s, %s, %s)"
ROLL_UP = "select autoscaler.roll_up()"
APPLY_SCHEDULES = "select autoscaler.apply_schedules()"


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
    return conn.execute(TAKE[source].encode(), (text_of(heartbeats), skip_held)).fetchall()


def sweep(
    conn: Connection, silence: timedelta, cluster_intervals: float, most_share: float, *, skip_held: bool = False
) -> list[SweepReport]:
    """Mark silent nodes offline, of both kinds, unless there is a reason to hold back."""
    with conn.cursor(row_factory=class_row(SweepReport)) as cursor:
        asked: list[tuple[str, tuple[Any, ...]]] = [
            (SWEEP_NODES, (silence, most_share)),
            (SWEEP_CLUSTER_NODES, (cluster_intervals, most_share, skip_held)),
        ]
        return [report for call, values in asked for report in cursor.execute(call.encode(), values).fetchall()]


def roll_up(conn: Connection) -> None:
    """Write the minute's analytics, and what schedules ask of pools now."""
    conn.execute(ROLL_UP)
    conn.execute(APPLY_SCHEDULES)
