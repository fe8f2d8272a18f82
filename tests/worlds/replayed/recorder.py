"""What workers have done to a queue, as triggers of the test's database have recorded it, in the words of the rules."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

from worlds.fleet import Connection
from worlds.replayed.rules import Change

RECORD = (Path(__file__).parent / "recorder.sql").read_text("utf-8")


def record(conn: Connection) -> None:
    """Record from now on."""
    conn.execute(RECORD.encode())


def recorded(conn: Connection, workers: Collection[str]) -> list[Change]:
    """What was recorded so far of what is committed."""
    rows = conn.execute(
        "select r.msg_id, r.who, r.op, r.due, r.before, r.after, exists (select from public.recorded l"
        "  where l.op = 'letter' and (l.xact_id, l.msg_id) = (r.xact_id, r.msg_id))"
        " from public.recorded r where r.op <> 'letter' order by r.recorded_id"
    ).fetchall()
    changes = []
    for msg_id, who, op, due, before, after, has_letter in rows:
        what = _what(op, before, after, is_worker=who in workers, has_letter=has_letter)
        read_ct = ((before or after)["read_ct"], (after or before)["read_ct"])
        changes.append(Change(msg_id, what, who, bool(due), read_ct))
    return changes


def _what(op: str, before: Any, after: Any, *, is_worker: bool, has_letter: bool) -> str:
    if op == "insert":
        return "sends"
    if op == "delete":
        gone = "settles" if is_worker else "takes_away"
        return "buries" if has_letter else gone
    was, ours = _ours(before), _ours(after)
    if ours.get("claim") != was.get("claim") and after["read_ct"] != before["read_ct"]:
        return "claims"
    if before["headers"] == after["headers"]:
        kept = "renews" if is_worker else "delays"
        return kept if after["read_ct"] == before["read_ct"] else "reads"
    if ours.get("begun", 0) > was.get("begun", 0):
        return "begins"
    return "gives_back" if "sent_at" in ours else "finds"


def _ours(message: Any) -> dict[str, Any]:
    ours = (message["headers"] or {}).get("pgfleet")
    return ours if isinstance(ours, dict) else {}
