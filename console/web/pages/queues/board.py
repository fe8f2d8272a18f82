"""The board of all queues: now and over a day; below it workers, periodic work, outages, and what may be held back."""

from collections.abc import Mapping, Sequence

import htpy as h

from pgfleet.console.web.look.links import to_page
from pgfleet.console.web.look.pictures.bars import sparkline
from pgfleet.console.web.look.tables import Column, table
from pgfleet.console.web.look.words import counted, lasting, number, when
from pgfleet.console.web.page import Page, Part, Screen, View
from pgfleet.console.web.pages.queues.holding import held_back, holding
from pgfleet.producers.http.endpoints.motion import list_periodic
from pgfleet.schema.brake.pauses import paused
from pgfleet.schema.kinds import queues
from pgfleet.schema.reads import outage
from pgfleet.schema.reads.pictures import queues as reads
from pgfleet.schema.reads.pictures.figures import MOST
from pgfleet.schema.rows.row import Row

# A worker tells every few seconds that it works.
SILENT_S, LATE_S = 60, 60


def queues_page(view: View) -> Screen:
    conn = view.call.conn
    held = paused(conn)
    return Screen(
        "Queues",
        [
            Part("held", held_back(view, held)),
            Part("outages", _outages(view, outage.recent(conn))),
            Part("board", _board(view, {row["what"] for row in held})),
            Part("hold", lambda: holding(view, held), is_live=False),
            Part("workers", _workers(view)),
            Part("periodic", _periodic(view)),
        ],
    )


def _board(view: View, held: set[str]) -> h.Node:
    conn = view.call.conn
    depths, flows = reads.depths_of_a_day(conn), reads.flows_of_a_day(conn)
    columns = [
        Column("Queue", lambda row: _named(row["queue"])),
        Column("State", lambda row: _going(row, is_held=row["queue"] in held)),
        Column("Ready", lambda row: counted(row["ready"]), is_number=True),
        Column("Oldest ready", lambda row: _age(row["oldest_ready_s"]), is_number=True),
        Column("Delayed", lambda row: counted(row["delayed"]), is_number=True),
        Column("In hand", lambda row: counted(row["in_hand"]), is_number=True),
        Column("Ready over 24 h", lambda row: _line(depths.get(row["queue"], []), "ready", None)),
        Column("In / min", lambda row: _flow(row, flows, "in")),
        Column("Out / min", lambda row: _flow(row, flows, "out")),
        Column("Dead letters", _dead),
    ]
    empty = ["There are no queues: ", h.code["pgfleet migrate"], " makes them."]
    return [
        table(columns, reads.board(conn), empty, "Queues"),
        h.p(".dim")[
            f"Numbers are of messages, and go up to {number(MOST)}. In and out are those of the last 5 to 10 minutes; "
            "a message that is put off goes out and comes in again. "
            "Lines have a value each 5 minutes in which some process served metrics."
        ],
    ]


def _named(queue: str) -> h.Node:
    kind = queues().get(queue)
    return h.span(title=queue)[h.strong[kind or queue]]


def _going(row: Row, *, is_held: bool) -> h.Node:
    if is_held:
        return _told("waits", "◫", "paused")
    if (row["oldest_ready_s"] or 0) > LATE_S:
        return _told("bad", "▲", "behind")
    return _told("good", "●", "moves") if row["ready"] or row["in_hand"] else _told("over", "○", "idle")


def _age(seconds: float | None) -> h.Node:
    if seconds is None:
        return "–"
    return h.span(class_={"trouble": seconds > LATE_S})[lasting(max(seconds, 0))]


def _flow(row: Row, flows: Mapping[tuple[str, str], Sequence[float]], way: str) -> h.Node:
    return _line(flows.get((row["queue"], way), []), f"{way} a minute", row[f"{way}_a_minute"])


def _line(values: Sequence[float], what: str, now: float | None) -> h.Node:
    """How it went over a day; below it how much it is now, and was at most."""
    told = [] if now is None else [h.strong[number(round(now, 1))]]
    if len(values) > 1:
        told.append(h.span(".dim")[f"at most {number(round(max(values), 1))}"])
    if not told:
        return h.span(".dim")["not known yet"]
    drawn = (
        sparkline(values, f"{what} over 24 hours: at most {number(round(max(values), 1))}") if len(values) > 1 else None
    )
    return h.div(".trend")[drawn, h.span[[[each, " "] for each in told]]]


def _dead(row: Row) -> h.Node:
    failed, rejected = row["failed"], row["rejected"]
    if not failed and not rejected:
        return h.span(".dim")["none"]
    kind = queues().get(row["queue"], row["queue"])
    told = [
        failed > 0 and h.span(".trouble")[f"✕ {counted(failed)} failed"],
        failed > 0 and rejected > 0 and ", ",
        rejected > 0 and f"{counted(rejected)} rejected",
    ]
    return to_page("/dead-letters", told, f"kind={kind}")


def _outages(view: View, rows: list[Row]) -> h.Node:
    if not rows:
        return None
    columns = [
        Column("What", lambda row: [row["name"], h.span(".dim")[f" ({row['calls']})"]]),
        Column("State", _answers),
        Column("Since", lambda row: when(row["began_at"], view.now)),
        Column("Lasted", lambda row: lasting(row["lasted_s"]), is_number=True),
        Column("Tried next", lambda row: "–" if row["ended_at"] else when(row["retry_at"], view.now)),
        Column("Waiting", lambda row: number(row["waiting"], "message"), is_number=True),
        Column("What it says", lambda row: row["reason"]),
    ]
    return [h.h2["What does not answer, or did not within a day"], table(columns, rows, "", "Outages")]


def _answers(row: Row) -> h.Node:
    if row["ended_at"]:
        return _told("good", "●", "answers again")
    return _told("bad", "✕", "nobody tries: do workers run?" if row["is_overdue"] else "does not answer")


def _told(tone: str, mark: str, text: str) -> h.Node:
    return h.span(class_=["state", f"tone-{tone}"])[h.span(".mark", aria_hidden="true")[mark], " ", text]


def _workers(view: View) -> h.Node:
    columns = [
        Column("Worker", lambda row: row["worker"]),
        Column("State", _works),
        Column("Kind", lambda row: queues().get(row["queue"], row["queue"])),
        Column("Version", lambda row: row["version"]),
        Column("In hand", lambda row: number(row["in_hand"], "message"), is_number=True),
        Column("Since", lambda row: when(row["started_at"], view.now)),
        Column("Heard of", lambda row: when(row["seen_at"], view.now)),
    ]
    empty = ["Nobody has worked within an hour. Start one of each kind: ", h.code["pgfleet worker reservation"]]
    rows = reads.workers(view.call.conn)
    versions = sorted({row["version"] for row in rows if row["silent_s"] < SILENT_S})
    return [
        h.h2["Workers"],
        len(versions) > 1 and h.p(".waits")[f"▲ They are of several versions: {', '.join(versions)}."],
        table(columns, rows, empty, "Workers"),
    ]


def _works(row: Row) -> h.Node:
    if row["silent_s"] >= SILENT_S:
        return _told("over", "◌", "not heard of")
    return _told("good", "●", "works" if row["in_hand"] else "ready")


def _periodic(view: View) -> h.Node:
    columns = [
        Column("Work", lambda row: row["name"]),
        Column("Kind", lambda row: queues().get(row["queue"], row["queue"])),
        Column("Every", lambda row: lasting(row["every"].total_seconds()), is_number=True),
        Column("Next", lambda row: _due(view, row)),
        Column("Done last", lambda row: when(row["done_at"], view.now, "never")),
    ]
    rows = list_periodic(view.call).body["items"]
    late = sum(_is_late(view, row) for row in rows)
    said = h.span(".trouble")[f"▲ {late} of {len(rows)} are late"] if late else f"{len(rows)} tasks, none is late"
    return h.details(".more")[
        h.summary[h.strong["Periodic work"], " ", said],
        table(columns, rows, "There is none.", "Periodic work"),
    ]


def _due(view: View, row: Row) -> h.Node:
    return h.span(class_={"trouble": _is_late(view, row)})[when(row["next_at"], view.now)]


def _is_late(view: View, row: Row) -> bool:
    return bool((view.now - row["next_at"]).total_seconds() > LATE_S)


PAGES = (
    Page(
        "/queues",
        "Queues",
        "queues.read",
        queues_page,
        menu=55,
        machines=frozenset({"outage", "dead_letter"}),
        every_s=5,
    ),
)
