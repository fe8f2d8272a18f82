"""The fleet: what needs a person first; GPUs by type, by day and by node; what ends next, who waits, what goes on."""

from collections import defaultdict
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import htpy as h

from pgfleet.console.web.look.links import to_page, to_reservation
from pgfleet.console.web.look.pictures.bars import bar, patterns
from pgfleet.console.web.look.pictures.cells import legend, many, node
from pgfleet.console.web.look.pictures.plot import Scale, plot
from pgfleet.console.web.look.tables import Column, table
from pgfleet.console.web.look.words import counted, gpus, lasting, number, when
from pgfleet.console.web.page import Page, Part, Screen, View
from pgfleet.schema.brake.pauses import paused
from pgfleet.schema.kinds import queues as kinds
from pgfleet.schema.reads import node as nodes
from pgfleet.schema.reads import outage
from pgfleet.schema.reads import reservation as reads
from pgfleet.schema.reads.pictures.clusters import troubled
from pgfleet.schema.reads.pictures.gpus import MOST_NODES, ending, gpu_nodes, holders
from pgfleet.schema.reads.pictures.held import Use, use_of_a_day
from pgfleet.schema.reads.pictures.queues import board
from pgfleet.schema.reads.place import Line
from pgfleet.schema.rows.row import Row

# Of each line so many are shown, and so many are read.
FRONT, READ = 5, 10
# Of a type with more nodes, a node is one cell.
SINGLE = 24
BARS = (
    ("held", "held"),
    ("swatch-free", "free"),
    ("away", "not available"),
    ("swatch-waits", "wanted by the first in line"),
)
QUARTER = timedelta(minutes=15)
CELLS = (("held", "held"), ("other", "held by others"), ("free", "free"), ("away", "not available"))
WHOLE = (("held", "full"), ("partly", "some are free"), ("free", "all are free"), ("away", "not available"))


def fleet(view: View) -> Screen:
    lines = _lines(view)
    queues = board(view.call.conn) if view.may("queues.read") else []
    parts = [
        Part("needs", _needs(view, queues) if view.may("queues.read") else None),
        Part("types", [_types(lines), patterns()]),
        Part("use", lambda: _use(view), rests_s=1),
        Part("nodes", lambda: _nodes(view), rests_s=1),
        Part("ending", _ending(view)),
        Part("lines", _waiting(view, lines)),
    ]
    if view.may("queues.read"):
        parts.append(Part("motion", _motion(queues)))
    return Screen("Fleet", parts)


def _lines(view: View) -> list[tuple[Row, Line]]:
    conn = view.call.conn
    known = reads.types(conn)
    found = reads.lines_of(conn, known, timedelta(seconds=view.call.settings.expiry_grace_s), READ, brief=True)
    return [(row, found[name]) for name, row in known.items() if name in found]


def _needs(view: View, queues: list[Row]) -> h.Node:
    """What waits for an operator; nothing else is above it."""
    told = list(_troubles(view, queues))
    if not told:
        return h.p(".calm")["✓ Nothing needs you."]
    return [h.h2["Needs a person"], h.ul(".needs")[(h.li[each] for each in told)]]


def _troubles(view: View, queues: list[Row]) -> Iterator[h.Node]:
    conn = view.call.conn
    failed = sum(row["failed"] for row in queues)
    if failed:
        yield [
            "✕ ",
            to_page("/dead-letters", counted(failed, "dead letter")),
            ": messages that failed by our fault, to replay or discard.",
        ]
    for row in outage.recent(conn):
        if row["ended_at"] is None:
            yield [f"✕ {row['name']} does not answer ", when(row["began_at"], view.now), f": {row['reason']}"]
    for row in paused(conn):
        why = f": {row['reason']}" if row["reason"] else ""
        yield [
            "◫ ",
            to_page("/queues", f"{row['name']} paused"),
            f" by {row['by_whom']} ",
            when(row["since"], view.now),
            why,
        ]
    yield from _clusters(troubled(conn))
    for machine, what in (("node", "nodes"), ("cluster_node", "cluster nodes")):
        sweep = nodes.last_sweep(conn, machine)
        if sweep is not None and sweep["held_back"]:
            yield [
                "▲ ",
                to_page("/nodes", f"{number(sweep['silent'])} {what}"),
                " are silent at once, and none is marked offline until somebody believes it.",
            ]


def _clusters(rows: list[Row]) -> Iterator[h.Node]:
    for row in rows[:FRONT]:
        yield [
            "▲ Cluster ",
            h.a(href=f"/clusters/{row['cluster_id']}")[row["name"]],
            f" is {row['status']}: {row['status_reason'] or 'no reason given'}",
        ]
    if len(rows) > FRONT:
        yield ["▲ ", to_page("/clusters", f"{number(len(rows) - FRONT, 'more cluster')} like these")]


def _types(lines: list[tuple[Row, Line]]) -> h.Node:
    shown = [(row, line) for row, line in lines if line.total or line.held or line.number]
    if not shown:
        return [
            h.h2["GPUs by type"],
            h.p(".empty")[
                "There are no GPUs yet. Say how many there are: ", h.code["pgfleet types set h100 --total 16"]
            ],
        ]
    return [h.h2["GPUs by type"], legend(BARS), h.ul(".types")[(_type(row, line) for row, line in shown)]]


def _type(row: Row, line: Line) -> h.Element:
    held, free = min(line.held, line.total), line.free
    away = max(line.total - held - free, 0)
    wanted = sum(unit.gpus * unit.nodes for unit in line.standing.line) if line.number else 0
    parts = [("held", held, f"{held} held"), ("free", free, f"{free} free"), ("away", away, f"{away} not available")]
    if wanted:
        parts.append(("waits", wanted, f"{wanted} wanted by the first in line"))
    told = (
        f"{held} held"
        + (f", {away} not available" if away else "")
        + (f", {number(line.number, 'reservation')} waiting" if line.number else "")
    )
    return h.li[
        h.span(".type-name")[
            to_page("/reserve", row["gpu_type"], f"gpu_type={row['gpu_type']}"),
            not line.is_active and h.span(".dim")[" (off)"],
        ],
        bar(parts, f"{row['gpu_type']}: {free} free of {line.total}, {told}"),
        h.span(".type-told")[h.strong[number(free)], f" free of {line.total}", h.span(".dim")[f" · {told}"]],
    ]


def _use(view: View) -> h.Node:
    """How much of each type was held over the last 24 hours."""
    uses = use_of_a_day(view.call.conn)
    if not uses:
        return None
    plots = (
        plot(_held(name, use), use.held, view.now, QUARTER, Scale("GPUs", 0, use.total)) for name, use in uses.items()
    )
    return [h.h2["GPUs held, last 24 hours"], h.div(".plots")[plots]]


def _held(name: str, use: Use) -> str:
    return name if use.share is None else f"{name}: {100 * use.share:.0f} % held on average, now"


def _nodes(view: View) -> h.Node:
    rows = gpu_nodes(view.call.conn)
    if not rows:
        return None
    by_type: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_type[row["gpu_type"]].append(row)
    few = [row["node_name"] for of_type in by_type.values() if len(of_type) <= SINGLE for row in of_type]
    owner = None if view.sees_all("reservations.read") else view.username
    held: dict[str, list[Row]] = defaultdict(list)
    for row in holders(view.call.conn, few, owner) if few else ():
        held[row["pod_node"]].append(row)
    return [
        h.h2["GPUs by node"],
        legend(CELLS if few else WHOLE),
        h.div(".node-types")[(_of_type(view, *each, held) for each in by_type.items())],
        len(rows) == MOST_NODES and h.p(".dim")[f"The first {number(MOST_NODES, 'node')}; there are more."],
    ]


def _of_type(view: View, name: str, rows: list[Row], held: dict[str, list[Row]]) -> h.Element:
    """Each GPU of a few nodes; of many, a cell for each node."""
    if len(rows) > SINGLE:
        return h.div[h.h3[name], many(rows)]
    return h.div[h.h3[name], h.ul(".nodes")[(node(row, held[row["node_name"]], view.now) for row in rows)]]


def _ending(view: View) -> h.Node:
    sees_all = view.sees_all("reservations.read")
    columns = [
        Column("Reservation", lambda row: to_reservation(row["reservation_id"], row["name"])),
        *([Column("User", lambda row: row["user_id"])] if sees_all else []),
        Column("GPUs", gpus),
        Column("Ends", lambda row: when(row["expires_at"], view.now)),
    ]
    rows = ending(view.call.conn, None if sees_all else view.username)
    empty = ["Nothing runs. ", to_page("/reserve", "Reserve GPUs")]
    return [h.h2["Ends next" if sees_all else "Yours that end next"], table(columns, rows, empty, "What ends next")]


def _waiting(view: View, lines: list[tuple[Row, Line]]) -> h.Node:
    waits = [(row, line) for row, line in lines if line.number]
    if not waits:
        return [h.h2["Waiting lines"], h.p(".empty")["Nobody waits."]]
    users: dict[str, str] = {}
    if view.sees_all("reservations.read"):
        keys = [each.unit.key for _, line in waits for each in line.plan.waiting[:FRONT]]
        users = reads.users_of(view.call.conn, keys)
    return [
        h.h2["Waiting lines"],
        h.div(".lines")[(_line(row, line, users) for row, line in waits)],
    ]


def _line(row: Row, line: Line, users: dict[str, str]) -> h.Element:
    front = line.plan.waiting[:FRONT]
    rest = line.number - sum(each.unit.nodes for each in front)
    return h.div[
        h.h3[row["gpu_type"], h.span(".dim")[f" {number(line.number, 'reservation')} waiting"]],
        h.ol[(_place(line, each, users) for each in front)],
        rest > 0 and h.p(".dim")[f"and {number(rest)} more"],
    ]


def _place(line: Line, waits: Any, users: dict[str, str]) -> h.Element:
    key, eta = waits.unit.key, line.standing.at(waits.starts_in_s)
    who: h.Node = to_reservation(key, users[key]) if key in users else "somebody"
    promise = " at the latest" if waits.is_promised and eta else ""
    return h.li[who, f": {waits.unit.gpus * waits.unit.nodes} GPUs, starts ", when(eta, line.now), promise]


def _motion(rows: list[Row]) -> h.Node:
    columns = [
        Column("Queue", lambda row: h.span(title=row["queue"])[_kind(row)]),
        Column("Ready", lambda row: counted(row["ready"]), is_number=True),
        Column("Delayed", lambda row: counted(row["delayed"]), is_number=True),
        Column("In hand", lambda row: counted(row["in_hand"]), is_number=True),
        Column(
            "Oldest ready",
            lambda row: "–" if row["oldest_ready_s"] is None else lasting(row["oldest_ready_s"]),
            is_number=True,
        ),
        Column("Dead letters", lambda row: counted(row["failed"] + row["rejected"]), is_number=True),
    ]
    return [h.h2["Queues"], h.p[_in_a_word(rows)], table(columns, rows, "There are no queues.", "Queues")]


def _kind(row: Row) -> str:
    """As `pgfleet worker` and the page of queues name it."""
    return str(kinds().get(row["queue"], row["queue"]))


def _in_a_word(rows: list[Row]) -> str:
    late = [row for row in rows if (row["oldest_ready_s"] or 0) > 60]
    if late:
        return f"▲ {', '.join(map(_kind, late))}: messages wait for longer than a minute; do workers run?"
    return "✓ Workers keep up: nothing waits for longer than a minute."


PAGES = (
    Page(
        "/",
        "Fleet",
        "gpu-types.read",
        fleet,
        menu=10,
        machines=frozenset({"reservation", "cluster", "dead_letter", "outage", "disk"}),
        every_s=5,
    ),
)
