"""What the heartbeat worker asks of the database, and what its functions return."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from psycopg.rows import class_row

from pgfleet.schema.heartbeat import Heartbeat, text_of
from pgfleet.schema.queue.arrays import array
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.rows.named import named

SQL = named(__package__)
TAKE = {"autoscaler": SQL["take_autoscaler"], "cluster": SQL["take_cluster"]}


@dataclass(frozen=True, slots=True)
class Silence:
    """How long a node may be silent: a time, or so many health check intervals of a cluster."""

    node: timedelta = timedelta(minutes=5)
    cluster_intervals: float = 3


@dataclass(frozen=True, slots=True)
class SweepReport:
    """What an offline sweep saw: how many nodes were alive and silent before it, how many it marked.

    `held_back` is why it did not mark all that were silent. `belief` is why some were marked last although most were
    silent at once, at `believed_at`: "by ada", "after 15 minutes".
    """

    machine: str
    swept_at: datetime
    alive: int
    silent: int
    marked: int
    held_back: str | None
    held_back_since: datetime | None
    believed_at: datetime | None
    belief: str | None


def take(
    conn: Connection,
    source: str,
    heard: Sequence[tuple[Heartbeat, datetime]],
    silence: Silence = Silence(),
    *,
    skip_held: bool = False,
) -> Iterable[tuple[int, str, str]]:
    """Write heartbeats of one source, in the caller's transaction; (place, verdict, reason) of what needs a word.

    Each comes with the time when it was enqueued, by the database's clock.
    """
    values = {
        "heartbeats": text_of(source, [heartbeat for heartbeat, _ in heard]),
        "heard": array([at.isoformat() for _, at in heard]),
        "silence": silence.node,
        "intervals": silence.cluster_intervals,
        "skip_held": skip_held,
    }
    return conn.execute(TAKE[source], values).fetchall()


def sweep(
    conn: Connection, silence: Silence, most_share: float, proven: Sequence[str], *, skip_held: bool = False
) -> list[SweepReport]:
    """Mark silent nodes offline, of both kinds, unless there is a reason to hold back.

    `proven` are the nodes of which a heartbeat with a proof waits in the queue.
    """
    given = {"most_share": most_share, "proven": list(proven)}
    with conn.cursor(row_factory=class_row(SweepReport)) as cursor:
        asked: list[tuple[bytes, dict[str, Any]]] = [
            (SQL["sweep_nodes"], {"silence": silence.node, **given}),
            (SQL["sweep_cluster_nodes"], {"intervals": silence.cluster_intervals, "skip_held": skip_held, **given}),
        ]
        return [report for query, values in asked for report in cursor.execute(query, values).fetchall()]


def roll_up(conn: Connection) -> None:
    """Write the minute's analytics, and what schedules ask of pools now."""
    conn.execute(SQL["roll_up"])
    conn.execute(SQL["apply_schedules"])
