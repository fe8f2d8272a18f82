"""The timeline of a reservation or a user as a picture."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from pgfleet.console.pictures.parts import age, block, cell, dated, facts, seconds, table
from pgfleet.producers.reading.timeline import Event, Timeline, coming, past
from pgfleet.producers.submit.wording import disk, gpus, span, story, waiting
from pgfleet.schema.reservation import Status


def picture(timeline: Timeline) -> Group:
    """All about one reservation."""
    return Group(*head(timeline), *events(timeline))


def head(timeline: Timeline) -> list[Text | Table]:
    """How it is now."""
    return [facts(_facts(timeline)), *_gang(timeline)]


def _gang(timeline: Timeline) -> list[Text | Table]:
    """Its nodes, of which the one that was asked for is one."""
    if not timeline.gang:
        return []
    made = table("RANK", "ID", "STATUS", "NODE", "SSH", "", fold=("",))
    for row in timeline.gang:
        ssh = row["ssh_command"] if row["status"] == Status.ACTIVE else None
        known = (row["node_index"], row["short_id"], row["status"], row["pod_node"], ssh)
        made.add_row(*map(cell, known), cell(story(row, None, timeline.now)))
    return block("nodes", made)


def events(timeline: Timeline) -> list[Text | Table]:
    """What happened, and what comes next."""
    return listed(past(timeline), coming(timeline))


def listed(happened: list[Event], comes: list[Event]) -> list[Text | Table]:
    """The same of what is known already."""
    parts: list[Text | Table] = []
    for title, found in (("what happened", happened), ("what comes next", comes)):
        if found:
            parts += block(title, dated(found))
    return parts


def _waits(timeline: Timeline) -> Iterator[tuple[str, str]]:
    if timeline.place is not None:
        yield "in line", waiting(timeline.place, timeline.now)
    if timeline.paused is not None:
        yield "nothing moves", timeline.paused


def _facts(timeline: Timeline) -> Iterator[tuple[str, str]]:
    """What its row says now; each as a name and a text."""
    row = timeline.row
    yield "reservation", f"{row['reservation_id']}  {row['name'] or ''}".rstrip()
    yield "user", row["user_id"]
    yield "asked for", f"{gpus(row)} for {span(row['duration_hours'] * 3600)}"
    if row["disk_name"] is not None:
        yield "disk", disk(row)
    yield "status", f"{row['status']}, {row['current_detailed_status'] or row['status_reason'] or ''}"
    yield from _waits(timeline)
    yield "GPUs held", str(row["gpus_held"])
    if row["waits_for"]:
        yield "waits for", row["waits_for"]
    if row["forced_at"] is not None:
        yield "by force", f"released by {row['forced_by']}, {age(seconds(row['forced_at'], timeline.now))}"
    if row["retried_from"] is not None:
        yield "retry of", row["retried_from"]
    if row["expires_at"] is not None and row["reservation_ended"] is None:
        yield "expires", _when(row["expires_at"], timeline.now)
    if row["idle_minutes"] is not None and row["reservation_ended"] is None:
        yield "when idle", _idle(row, timeline.now)
    if row.get("exit_reason") or row.get("exit_code") is not None:
        code = None if row["exit_code"] is None else f"exit code {row['exit_code']}"
        yield "its command", ", ".join(filter(None, ("ended", code, row["exit_reason"])))
    if row["status"] == Status.FAILED:
        yield "again", f"pgfleet retry {row['reservation_id']}"
    yield from _told(row)


def _idle(row: dict[str, Any], now: datetime) -> str:
    """`ends after 60 min; GPUs 97 %, 3 % busy 2 min ago`."""
    ends = f"ends after {row['idle_minutes']} min"
    if "gpus_read_at" not in row:
        return ends  # not shown to who asks
    if row["gpus_read_at"] is None:
        return f"{ends}; nobody has looked at its GPUs yet"
    looked = age(seconds(row["gpus_read_at"], now))
    if not row["gpus_use"]:
        return f"{ends}; how busy its GPUs are could not be read {looked}, which counts as use"
    busy = ", ".join(f"{percent} %" for percent in row["gpus_use"])
    since = f", the first idle look {age(seconds(row['idle_since'], now))}" if row["idle_since"] is not None else ""
    return f"{ends}; GPUs {busy} busy {looked}{since}"


def _told(row: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """How to get in, which nobody can any more when it is over; and what has to be known of it."""
    ssh = row["ssh_command"] if row["status"] == Status.ACTIVE else None
    if row["status"] == Status.ACTIVE and row.get("jupyter_url"):
        yield "jupyter", f"{row['jupyter_url']}  (pgfleet jupyter show {row['reservation_id']} has its token)"
    if row.get("jupyter_error"):
        yield "jupyter", f"does not run: {row['jupyter_error']}"
    for name, known in (("ssh", ssh), ("warning", row["warning"]), ("failure", row["failure_reason"])):
        if known:
            yield name, known


def _when(at: datetime, now: datetime) -> str:
    left_s = (at - now).total_seconds()
    return f"in {span(left_s)}" if left_s >= 0 else age(-left_s)
