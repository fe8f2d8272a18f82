"""What `pgfleet disk` shows: the table of disks, all about one, and what is in quarantine."""

import shlex
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from pgfleet.console.pictures.parts import age, block, cell, dated, facts, moment, seconds, styled, table
from pgfleet.producers.submit.disk import story
from pgfleet.producers.submit.terminal import out
from pgfleet.producers.submit.wording import span
from pgfleet.schema.disk import UNFINISHED, OperationStatus, Status
from pgfleet.schema.printable import printable
from pgfleet.schema.rows.row import Row

WIDE = 140
STYLES = {
    "creating": "cyan",
    "available": "green",
    "attached": "yellow",
    "deleted": "dim",
    "purged": "dim",
    "failed": "red",
    "pending": "cyan",
    "in_progress": "cyan",
    "completed": "green",
    "deleting": "dim",
}
# How AWS's own command line deletes what a person has looked at.
REMOVE = {
    "snap": "aws ec2 delete-snapshot --snapshot-id {resource_id}",
    "vol": "aws ec2 delete-volume --volume-id {resource_id}",
}
ADVICE = (
    "Nothing deletes these but you. Look what each is (aws ec2 describe-snapshots --snapshot-ids ID, "
    "aws ec2 describe-volumes --volume-ids ID); when nobody needs it:"
)


def list_picture(seen: dict[str, Any]) -> Group:
    found = seen["disks"]
    if not found:
        return Group(cell("no disks: `pgfleet disk create NAME` makes one, and so does a reservation with --disk NAME"))
    return Group(_disk_table(found, seen["now"]))


def _disk_table(found: list[Row], now: datetime) -> Table:
    """LAST SNAPSHOT and PURGED ON only where the terminal is wide."""
    wide = out().width >= WIDE
    more = ("LAST SNAPSHOT", "PURGED ON") if wide else ()
    headings = ("NAME", "USER", "STATUS", "SIZE", "USED", "IN USE BY", "SNAPSHOTS", *more, "WAITS FOR")
    made = table(*headings, right=("SIZE", "USED"), fold=("NAME", "USER", "WAITS FOR"))
    for row in found:
        known = (cell(row["disk_name"]), cell(row["user_id"]), _status(row), _size(row), cell(row["disk_size"]))
        taken, purge = age(seconds(row["last_snapshot_at"], now)), row["purge_date"]
        dates = (cell(taken), cell(purge)) if wide else ()
        # Where there is no column for it, the date is what there is to say of a deleted disk.
        why = waits_for(row) if wide or purge is None else f"purged on {purge}"
        made.add_row(*known, cell(row["reservation_short_id"]), cell(counted(row)), *dates, cell(why))
    return made


def _status(row: dict[str, Any]) -> Text:
    return styled(row["status"], STYLES)


def _size(row: dict[str, Any]) -> Text:
    return cell("" if row["size_gb"] is None else f"{row['size_gb']} GB")


def counted(row: dict[str, Any]) -> str:
    """`3 (+1 pending 40 %)`: how many are completed, and how far the others are."""
    pending = row["pending_snapshot_count"] or 0
    percent = "" if row["pending_percent"] is None else f" {row['pending_percent']} %"
    return f"{row['snapshot_count'] or 0}{f' (+{pending} pending{percent})' if pending else ''}"


def waits_for(row: dict[str, Any]) -> str:
    """What is wrong with a disk, or what is being done with it."""
    if row["status"] == Status.FAILED:
        return str(row["status_reason"] or "")
    if row["holder_waits_for"] and row["release_asked_at"] is None:
        return f"its reservation has ended: {row['holder_waits_for']}"
    return str(row["attach_error"] or row["data_lost"] or row["detail"] or "")


def disk_picture(seen: dict[str, Any]) -> Group:
    parts: list[Text | Table] = [facts(_facts(seen))]
    if seen["snapshots"]:
        parts += block("snapshots", _snapshots(seen["snapshots"], seen["now"]))
    if seen["operations"]:
        parts += block("asked of it last", dated(map(_operation, seen["operations"])))
    if seen["history"]:
        parts += block("what happened", dated(map(_move, seen["history"])))
    return Group(*parts)


def _facts(row: dict[str, Any]) -> Iterator[tuple[str, object]]:
    yield "disk", f"{row['disk_name']}  ({row['disk_id']})"
    yield "user", row["user_id"]
    yield "status", Text.assemble(_status(row), ": " if row["status_reason"] else "", cell(row["status_reason"]))
    yield "since", moment(row["status_since"], row["now"])
    yield "size", Text.assemble(_size(row), cell(f", {row['disk_size']} used" if row["disk_size"] else ""))
    if row["status"] == Status.ATTACHED:
        yield "in use by", _holder(row)
    if waits_for(row):
        yield "now", cell(waits_for(row), "red" if row["attach_error"] or row["data_lost"] else "")
    yield "last used", moment(row["last_used"], row["now"])
    taken = row["last_snapshot_at"]
    last = "" if taken is None else f", the last one {age(seconds(taken, row['now']))}"
    yield "snapshots", f"{counted(row)}{last}"
    if row["next_snapshot_id"] is not None:
        yield "restored", f"the next reservation finds snapshot {row['next_snapshot_id'][:8]}"
    if row["latest_snapshot_content_s3"] is not None:
        yield "contents", row["latest_snapshot_content_s3"]
    if row["purge_date"] is not None:
        yield "purged on", cell(f"{row['purge_date']}; until then `pgfleet disk undelete {row['disk_name']}`", "yellow")


def _holder(row: dict[str, Any]) -> str:
    who = row["reservation_id"]
    if who is None:
        return "a reservation that is gone; `pgfleet disk unlock` releases it"
    released = ", and being released" if row["release_asked_at"] is not None else ""
    return f"reservation {who} ({row['reservation_status']}){released}"


def _snapshots(found: list[Row], now: datetime) -> Table:
    made = table("ID", "KIND", "STATUS", "PROGRESS", "AGE", "CONTENTS", right=("PROGRESS",), fold=("CONTENTS",))
    for row in found:
        live = row["status"] in UNFINISHED
        percent = f"{row['progress_percent'] or 0} %" if live else ""
        contents = row["content_s3"] or (row["failure_reason"] if row["status"] == "failed" else None)
        known = (cell(row["snapshot_id"][:8]), cell(row["kind"]), _status(row), cell(percent))
        made.add_row(*known, cell(span((now - row["created_at"]).total_seconds())), cell(contents))
    return made


def _operation(row: Row) -> tuple[datetime, *tuple[object, ...]]:
    failed = row["status"] == OperationStatus.FAILED
    what = row["action"] if row["source_disk"] is None else f"{row['action']} {row['source_disk']}"
    shown = cell(story(row), "red" if failed else "")
    return row["created_at"], row["operation_id"][:8], what, _status(row), shown


def _move(move: Row) -> tuple[datetime, *tuple[object, ...]]:
    return move["at"], move["to_status"], f"{move['reason']}  ({move['actor']})"


def quarantine_picture(seen: dict[str, Any]) -> Group:
    found = seen["resources"]
    if not found:
        return Group(cell("nothing is in quarantine: every volume and snapshot that AWS has is accounted for"))
    made = table("RESOURCE", "DISK", "SINCE", "WHY", fold=("DISK", "WHY"))
    for row in found:
        gone = "gone from AWS: " if row["gone_at"] is not None else ""
        since = age(seconds(row["found_at"], seen["now"]))
        made.add_row(cell(row["resource_id"]), cell(_whose(row)), cell(since), cell(f"{gone}{row['reason']}"))
    remedies = [remedy for row in found if row["gone_at"] is None and (remedy := _remedy(row))]
    advice = [Text(), cell(ADVICE), *(Text(f"  {remedy}") for remedy in remedies)] if remedies else []
    return Group(made, *advice)


def _whose(row: dict[str, Any]) -> str:
    if row["disk_name"] is not None:
        return f"{row['disk_name']} of {row['user_id']} ({row['disk_status']})"
    return f"no row {row['disk_id']}" if row["disk_id"] is not None else "unknown"


def _remedy(row: dict[str, Any]) -> str:
    """The command that deletes a resource; empty for what is neither a volume nor a snapshot."""
    resource = str(row["resource_id"])
    return REMOVE.get(resource.partition("-")[0], "").format(resource_id=shlex.quote(printable(resource)))
