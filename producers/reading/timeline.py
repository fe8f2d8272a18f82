"""The timeline of a reservation: its moves, its dead letters, and the messages that will move it next."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pgfleet.producers.submit.wording import span
from pgfleet.schema.brake.pauses import pause_of
from pgfleet.schema.printable import printable
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.reads import about
from pgfleet.schema.reads import disk as disk_reads
from pgfleet.schema.reads import pod as pod_reads
from pgfleet.schema.reads import reservation as reads
from pgfleet.schema.reads.place import Place
from pgfleet.schema.reads.reservation import RESERVATION
from pgfleet.schema.reservation import MACHINE
from pgfleet.schema.rows.row import Row


@dataclass(frozen=True)
class Timeline:
    """All that is known of one reservation at `now`."""

    now: datetime
    row: dict[str, Any]
    place: Place | None
    history: list[Row]
    letters: list[Row]
    messages: list[Row]
    pod_events: tuple[Row, ...] = ()
    disk_moves: tuple[dict[str, Any], ...] = ()
    paused: str | None = None
    gang: tuple[Row, ...] = ()

    def as_json(self) -> dict[str, Any]:
        where = self.place.as_json() if self.place else {}
        known = {"history": self.history, "dead_letters": self.letters, "messages": self.messages}
        known["pod_events"] = list(self.pod_events)
        return {
            **self.row,
            **where,
            **known,
            "disk_history": list(self.disk_moves),
            "paused": self.paused,
            "gang": list(self.gang),
        }


# Requests that leave a reservation in its state, as one reads of them.
NO_MOVES = {
    "extend": "extended",
    "enable_jupyter": "Jupyter",
    "disable_jupyter": "Jupyter",
    "add_user": "user added",
}
# One line of a timeline: when, what and why.
Event = tuple[datetime, str, str]


def read_timeline(conn: Connection, row: dict[str, Any], grace: timedelta) -> Timeline:
    row_id = row["reservation_id"]
    now, where = reads.place_now(conn, row, grace)
    return Timeline(
        now=now,
        row=row,
        place=where,
        history=about.history(conn, MACHINE, [row_id]),
        letters=about.letters(conn, RESERVATION, row_id),
        messages=about.messages(conn, RESERVATION, row_id),
        pod_events=tuple(pod_reads.events(conn, row)),
        disk_moves=tuple(disk_reads.of_reservation(conn, row)),
        paused=None if row["reservation_ended"] else pause_of(conn, "reservation"),
        gang=tuple(reads.gang(conn, row)),
    )


def past(timeline: Timeline) -> list[Event]:
    """What has happened, in order."""
    known = [*_moves(timeline), *_disk_moves(timeline), *_requests(timeline), *_deaths(timeline), *_held(timeline)]
    known += _pod_events(timeline)
    return sorted(known, key=lambda event: event[0])


def _moves(timeline: Timeline) -> Iterator[Event]:
    for move in timeline.history:
        yield move["at"], move["to_status"], f"{move['reason']}  ({move['actor']})"


def _requests(timeline: Timeline) -> Iterator[Event]:
    """What was asked of it and done, but for what is a move, too."""
    for done in timeline.row.get("requests_done") or ():
        if done["action"] in NO_MOVES:
            yield datetime.fromisoformat(done["at"]), NO_MOVES[done["action"]], f"{done['told']}  ({done['by']})"


def _disk_moves(timeline: Timeline) -> Iterator[Event]:
    """Of its disk and of the snapshots taken for it, which others move."""
    for move in timeline.disk_moves:
        of_disk = move["machine"] == disk_reads.DISK
        who = f"disk {printable(timeline.row['disk_name'])}" if of_disk else f"snapshot {move['row_id'][:8]}"
        yield move["at"], f"{who} {move['to_status']}", f"{move['reason']}  ({move['actor']})"


def _pod_events(timeline: Timeline) -> Iterator[Event]:
    """What the cluster has told of its pod; when we saw it first, as its clock is another."""
    for event in timeline.pod_events:
        times = f"  ({event['count']} times)" if event["count"] > 1 else ""
        yield event["seen_at"], f"pod: {event['reason']}", f"{event['message']}{times}"


def _deaths(timeline: Timeline) -> Iterator[Event]:
    for letter in timeline.letters:
        answer = f", {letter['answer']}" if letter["answer"] else ""
        number = f"dead letter {letter['dead_letter_id']}{answer}"
        yield letter["died_at"], number, f"{about.action_of(letter) or '?'}: {letter['reason']}"


def _held(timeline: Timeline) -> Iterator[Event]:
    """What is still there after the end of a reservation; an assignment holds nothing."""
    if timeline.row.get("waits_for") and timeline.row["held_since"]:
        yield timeline.row["held_since"], "not gone", timeline.row["waits_for"]


def coming(timeline: Timeline) -> list[Event]:
    """Messages about it, by the time they are due."""
    return [
        (message["vt"], about.action_of(message) or "?", _due(message, timeline.now)) for message in timeline.messages
    ]


def _due(message: dict[str, Any], now: datetime) -> str:
    if not message["later"]:
        return "ready, waiting for a worker"
    after = span((message["vt"] - now).total_seconds())
    return f"claimed by a worker, or due again in {after}" if message["read_ct"] else f"due in {after}"
