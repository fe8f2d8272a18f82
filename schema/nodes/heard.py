"""Whether a stranger's heartbeat is its node's, and of which nodes such a one waits in the queue."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from pgfleet.schema.messages import read_time
from pgfleet.schema.nodes.keys import SQL
from pgfleet.schema.nodes.proofs import HOLDS_FOR, is_proven
from pgfleet.schema.queue.kernel import Connection


def why_unproven(
    body: dict[str, Any], sent_at: datetime, key_hashes: Iterable[str], now: datetime | None
) -> str | None:
    """Why a stranger's heartbeat is not its node's, by the keys that its node has now; None if it is."""
    if now is None or not is_proven(body, key_hashes):
        return "its proof fits no key of that node"
    if abs(now - sent_at) > HOLDS_FOR:
        return f"its proof is of {sent_at.isoformat()}, and holds for a day"
    return None


def proven_in_queue(conn: Connection) -> list[str]:
    """The nodes of which a heartbeat with a proof waits: they live, whatever their last status.

    Asked before an offline sweep, which itself sees what needs no proof (144). One row at a time, however many wait.
    """
    proven = set()
    for body, key_hash, now in conn.cursor().stream(SQL["waiting"]):
        sent_at = _time(body["sent_at"])
        if sent_at is not None and why_unproven(body, sent_at, [key_hash], now) is None:
            proven.add(body["node_id"])
    return sorted(proven)


def _time(text: str | None) -> datetime | None:
    try:
        time = read_time(text)
    except ValueError:
        return None
    return time if isinstance(time, datetime) and time.tzinfo is not None else None
