"""Follows one operation on a disk until it is completed or failed, telling each change."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pgfleet.schema.disk import LIVE_OPERATION, REQUESTS, UNFINISHED, OperationStatus
from pgfleet.schema.printable import printable
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.reads import operation as reads

LOOK_S = 0.2
SILENCE_S = 10.0
HINT = "; is one running? `pgfleet worker disk` starts one"


@dataclass(frozen=True, slots=True)
class Look:
    """One look at an operation: its row if there is one, else why its request was rejected, if it was."""

    row: dict[str, Any] | None
    text: str
    rejected: str | None = None

    @property
    def failed(self) -> bool:
        return self.rejected is not None or (self.row is not None and self.row["status"] == OperationStatus.FAILED)

    @property
    def settled(self) -> bool:
        return self.failed or (self.row is not None and self.row["status"] not in LIVE_OPERATION)


def look(conn: Connection, operation_id: str) -> Look:
    """The queue is read before the row: what is not in it any more, the row or a dead letter knows of already."""
    asked = [message for message in reads.messages(conn, operation_id) if _is_request(message)]
    row = reads.by_id(conn, operation_id)
    if row is not None:
        return Look(row, f"{row['status']}: {story(row)}".removesuffix(": "))
    if asked:
        taken = any(message["read_ct"] for message in asked)
        return Look(None, "sent: a worker has it in hand" if taken else "sent: no worker has taken it yet")
    died = [letter for letter in reads.letters(conn, operation_id) if _is_request(letter)]
    if died:
        reason = printable(died[-1]["reason"])
        return Look(None, f"rejected: {reason}", rejected=reason)
    return Look(None, "sent: no worker has taken it yet")


def _is_request(record: dict[str, Any]) -> bool:
    body = record["message"]
    return isinstance(body, dict) and body.get("action") in REQUESTS


def story(row: dict[str, Any]) -> str:
    """How an operation is, in words: its error, or what it does, and how far its snapshot is."""
    if row["status"] == OperationStatus.FAILED:
        return printable(row["error"] or row["status_reason"])
    told = printable(row["detail"] or row["status_reason"])
    if row["snapshot_status"] not in UNFINISHED or row["status"] not in LIVE_OPERATION:
        return told
    percent = f"snapshot {row['progress_percent'] or 0} %"
    return f"{told}, {percent}" if told else percent


def follow(conn: Connection, operation_id: str, timeout_s: float | None, tell: Callable[[str], None]) -> Look:
    """Look until it is completed or failed, or the time is up: then the last look is not settled.

    Tells every change but the end, which is the caller's to tell; returns the last look.
    """
    told, started = "", time.monotonic()
    while True:
        seen, waited_s = look(conn, operation_id), time.monotonic() - started
        text = seen.text + HINT if seen.row is None and waited_s > SILENCE_S else seen.text
        if text != told and not seen.settled:
            tell(text)
            told = text
        if seen.settled or (timeout_s is not None and waited_s >= timeout_s):
            return seen
        time.sleep(LOOK_S)
