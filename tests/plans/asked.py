"""What is asked of the database again and again, with what it is asked about; what is not here has its reason."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial
from hashlib import md5
from pathlib import Path
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from pgfleet.schema.queue import claims, kernel, large, lost, periodic
from pgfleet.schema.queue.kernel import Outgoing, Token
from pgfleet.schema.reads import about, reservation
from pgfleet.schema.reads.pages import audit, disk, event, letter
from pgfleet.schema.reads.pages import reservation as reservation_pages
from pgfleet.schema.reads.pages.keyset import Wanted
from pgfleet.schema.reads.pictures import figures
from pgfleet.schema.replay.letters import Filters as Letters
from pgfleet.schema.rows.forgotten import ask_forgotten
from pgfleet.schema.rows.named import named
from pgfleet.schema.rows.whole import join_by_hash
from worlds.fleet import Connection

Ask = Callable[[Connection], object]
QUEUES = ("gpu_reservations", "disk_operations", "cluster_assignments", "event_deliveries", "node_heartbeats")
MACHINES = ("reservation", "disk", "disk_snapshot", "disk_operation", "assignment", "subscription")
LEASE = timedelta(seconds=90)
NUMBERS = range(501, 521)


def id_of(letter: str, number: int) -> str:
    """As crowd.sql and big.sql make them."""
    return str(UUID(md5(f"{letter}{number}".encode(), usedforsecurity=False).hexdigest()))


def _ids(letter: str) -> list[str]:
    return [id_of(letter, number) for number in NUMBERS]


NOW = datetime.now(UTC)
# What parameters are given, by their names.
GIVEN: Mapping[str, Any] = {
    "after": timedelta(seconds=5),
    "billable": timedelta(days=45),
    "calls": "read",
    "charges": _ids("h"),
    "check_every": timedelta(hours=6),
    "closes": timedelta(hours=1),
    "cluster": id_of("c", 1),
    "clusters": _ids("c"),
    "code": "C",
    "day": (NOW - timedelta(days=1)).date(),
    "days": [date(2026, 11, 1)] * len(NUMBERS),
    "dependencies": ["kubernetes", "aws"],
    "dependency": "kubernetes",
    "disks": _ids("d"),
    "each": 50,
    "first": NOW.date().replace(day=1),
    "gone_too": False,
    "gpu_type": "h100",
    "gpu_types": ["h100"],
    "headers": None,
    "history_id": 0,
    "ids": _ids("b"),
    "intervals": 3,
    "keys": _ids("r"),
    "kept": 7,
    "kept_for": timedelta(days=30),
    "longest": timedelta(seconds=60),
    "machine": "reservation",
    "machines": None,
    "most": 50,
    "most_share": 0.5,
    "names": ["home"] * len(NUMBERS),
    "node": 501,
    "nodes": [f"g{number}" for number in NUMBERS],
    "of_user": None,
    "operations": _ids("o"),
    "overflow": False,
    "proven": None,
    "queue": "gpu_reservations",
    "reason": "r",
    "requests": _ids("l"),
    "resources": [f"vol-{number}" for number in NUMBERS],
    "row_id": id_of("r", 501),
    "row_ids": _ids("r"),
    "silence": timedelta(minutes=5),
    "skip_held": True,
    "slots": [NOW] * 3,
    "snapshots": _ids("s"),
    "states": None,
    "timeline": 1,
    "uids": ["p501"],
    "unit": id_of("r", 505),
    "upto_history_id": None,
    "upto_timeline": None,
    "upto_xact_id": None,
    "username": None,
    "users": [f"u{number}" for number in NUMBERS],
    "what": "deletes",
    "xact_id": "0",
}
# Of these files every statement is asked, but for NOT_ASKED.
FILES = (
    "workers/queries.sql",
    "workers/runtime/outside/queries.sql",
    "workers/event/queries.sql",
    "workers/assignment/queries.sql",
    "workers/assignment/billing/queries.sql",
    "workers/disk/queries.sql",
    "workers/reservation/queries.sql",
    "workers/reservation/cluster/queries.sql",
    "workers/heartbeat/queries.sql",
    "producers/http/queries.sql",
    "producers/http/gateway/queries.sql",
    "producers/placing/queries.sql",
    "schema/brake/queries.sql",
    "schema/feed/queries.sql",
    "schema/line/queries.sql",
    "schema/reads/pictures/clusters.sql",
    "schema/reads/pictures/nodes.sql",
    "schema/reads/pictures/queries.sql",
    "schema/reads/pictures/queues.sql",
    "schema/reads/pictures/usage.sql",
)
FILES_NOT_ASKED = {
    "schema/identity/queries.sql": "of one key or account, by functions; what each request asks is in SOME",
    "schema/nodes/queries.sql": "of one node, by operators; what each claim asks is in SOME",
    "schema/policy/queries.sql": "of a few policies, by operators; each request asks limits_of (workers/queries.sql)",
    "console/rights.sql": "by a person who reads the manual",
    "workers/runtime/inside/queries.sql": "of rights and the fleet, when a worker starts: the catalog, and a row",
    "schema/database/queries.sql": "of the catalog, when somebody migrates",
    "schema/doctor/queries.sql": "of everything, when somebody wants to know; the sweeps' views are asked here",
    "schema/doctor/ground/queries.sql": "the same",
    "schema/doctor/motion/queries.sql": "the same",
    "console/commands/whoami.sql": "of the catalog, by a person",
    "console/simulate/line/queries.sql": "of the line that somebody simulates, once",
    "console/testing/queries.sql": "by tests of other programs",
}
# What sweeps ask, as the views of their kinds ask it.
SWEPT = {
    *("untended", "due", "unclosed", "split", "counted"),
    *("untended_operations", "copying", "prunable", "unended", "stuck"),
}
# Of those files these.
SOME: Mapping[str, tuple[str, ...]] = {
    "schema/identity/queries.sql": ("principal_of_key", "keys", "accounts"),
    "schema/nodes/queries.sql": ("valid_keys", "waiting", "principal_of", "pools", "schedules"),
}
NOT_ASKED = {
    "see_pods": "what it writes is in tests/reservation/cluster",
    "see_pod_events": "the same",
    "see_nodes": "the same",
    "note_look": "the same",
    "see_service_gone": "the same",
    "take_autoscaler": "in tests/heartbeat/test_plans.py, with ten thousand nodes",
    "take_cluster": "the same",
    "place_reservation": "inserts a row by its key, and sends",
    "place_disk_operation": "the same",
    "pause": "writes one row of a table of a few",
    "resume": "the same",
    "cordon": "the same",
    "uncordon": "the same",
    "set": "the same",
    "ring": "reads nothing",
}


@dataclass(frozen=True)
class Asked:
    """What is asked, and the statement itself where it can be explained."""

    ask: Ask
    statement: bytes | None = None
    given: Mapping[str, Any] | None = None


OVER: Mapping[str, Mapping[str, Any]] = {
    "workers/heartbeat/queries.sql": {"intervals": 3},
    "workers/event/queries.sql": {
        "machines": ["reservation"],
        "states": ["active"],
        "owners": ["u501"],
        "row_ids": [id_of("r", 501)],
    },
    "schema/nodes/queries.sql": {"nodes": ["501"], "node": None, "after": 0},
    "schema/identity/queries.sql": {"username": None, "before": None, "account": None, "after": 0},
    "workers/assignment/queries.sql": {"after": "u1"},
    "schema/reads/pictures/usage.sql": {"after": NOW.date()},
    "schema/reads/pictures/clusters.sql": {
        "cluster": "cluster-00000501-2026-01-01-00-00-00-abcdefgh",
        "how": None,
        "clusters": ["cluster-00000501-2026-01-01-00-00-00-abcdefgh"],
    },
    "schema/reads/pictures/nodes.sql": {"region": None, "regions": ["r"]},
    "producers/http/gateway/queries.sql": {"bodies": Jsonb([]), "nodes": [], "contract": 1},
}


def _of_file(file: str) -> dict[str, Asked]:
    path = Path(file)
    package = ".".join(("pgfleet", *path.parent.parts))
    chosen = SOME.get(file)
    given = {"key_hash": "k", "by_whom": "x", **GIVEN, **OVER.get(file, {})}
    return {
        f"{path.parent}: {name}" if path.stem == "queries" else f"{path.parent}/{path.stem}: {name}": Asked(
            partial(_swept if name in SWEPT else _run, statement, given), statement, given
        )
        for name, statement in named(package, path.stem).items()
        if name not in NOT_ASKED and (chosen is None or name in chosen)
    }


def _run(statement: bytes, given: Mapping[str, Any], conn: Connection) -> object:
    cursor = conn.execute(statement, given)
    return cursor.fetchall() if cursor.description else None


def _swept(statement: bytes, given: Mapping[str, Any], conn: Connection) -> object:
    join_by_hash(conn)
    return _run(statement, given, conn)


def _queue(name: str, ask: Callable[..., object], *args: Any, **named_args: Any) -> dict[str, Asked]:
    return {f"{name} {queue}": Asked(partial(_of_queue, ask, queue, args, named_args)) for queue in QUEUES}


def _of_queue(
    ask: Callable[..., object], queue: str, args: Sequence[Any], named_args: Mapping[str, Any], conn: Connection
) -> object:
    return ask(conn, queue, *args, **named_args)


def _forgotten(machine: str, conn: Connection) -> object:
    return ask_forgotten(conn, machine, 500).fetchall()


TOKENS = [Token(number, 1) for number in range(1000, 1050)]
KERNEL = {
    **_queue("claim", claims.claim, 50, LEASE),
    **_queue("extend", kernel.extend, TOKENS, LEASE),
    **_queue("delete", lambda conn, queue: kernel.delete(conn, queue, TOKENS).fetchall()),
    **_queue("put back", lambda conn, queue: kernel.put_back(conn, queue, TOKENS, [LEASE] * 50, [{}] * 50).fetchall()),
    **_queue("send", lambda conn, queue: kernel.send(conn, queue, [Outgoing({}) for _ in range(50)]).fetchall()),
    **_queue("look at large", large.look_at, [token.msg_id for token in TOKENS], ["action"]),
    **_queue("find a lost claim", lost.give_back_claim, "m", LEASE, timedelta(0)),
    **_queue("look after", periodic.look_after, "disk@here:1", 0),
    **_queue("send due", periodic.send_due),
}


def _tidied(table: str) -> Asked:
    """One table, as if it were its turn."""

    def tidy(conn: Connection) -> object:
        conn.execute("update public.retention set next_at = 'infinity' where table_name <> %s", (table,))
        conn.execute("update public.retention set next_at = '-infinity' where table_name = %s", (table,))
        return periodic.keep_house(conn)

    return Asked(tidy)


TABLES = (
    "public.status_history",
    "public.dead_letters",
    "public.figures",
    "public.outages",
    "public.gpu_pods",
    "public.pod_quarantine",
    "public.disk_operations",
    "public.requests_answered",
    "public.event_subscriptions",
    "hopsworks.health_check_failures",
    "hopsworks.accounts_to_close",
    "hopsworks.usage_samples",
    "autoscaler.metrics",
    "autoscaler.audit_logs",
)
CLUSTER = "cluster-00000501-2026-01-01-00-00-00-abcdefgh"
PAGES = {
    "page of reservations": lambda conn: reservation_pages.listed(conn, reservation_pages.Filters(), Wanted()),
    "page of a user's reservations": lambda conn: reservation_pages.listed(
        conn, reservation_pages.Filters(username="u501"), Wanted()
    ),
    "page of live reservations": lambda conn: reservation_pages.listed(
        conn, reservation_pages.Filters(live=True), Wanted()
    ),
    "page of disks": lambda conn: disk.listed(conn, disk.Filters(), Wanted()),
    "page of operations": lambda conn: disk.operations(conn, None, Wanted()),
    "page of letters": lambda conn: letter.listed(conn, Letters(), Wanted()),
    "page of a queue's letters": lambda conn: letter.listed(conn, Letters(queue="gpu_reservations"), Wanted()),
    "page of the audit": lambda conn: audit.listed(conn, audit.Filters(), Wanted()),
    "page of subscriptions": lambda conn: event.listed(conn, None, None, Wanted()),
    "page of deliveries": lambda conn: event.deliveries(conn, id_of("b", 100), Wanted()),
    "a reservation": lambda conn: reservation.by_id(conn, id_of("r", 505)),
    "a reservation's history": lambda conn: about.history(conn, "reservation", [id_of("r", 505)]),
    "what is told of a reservation's messages": lambda conn: conn.execute(
        "select * from public.messages_about('gpu_reservations', 'reservation_id', %s)", (id_of("r", 505),)
    ).fetchall(),
    "what is told of a reservation's letters": lambda conn: conn.execute(
        "select * from public.letters_about('gpu_reservations', %s)", (id_of("e", 505),)
    ).fetchall(),
    "figures of now": figures.now,
}
ASKED: dict[str, Asked] = {
    **KERNEL,
    **{f"forgotten {name}": Asked(partial(_forgotten, name)) for name in MACHINES},
    **{f"keep {table}": _tidied(table) for table in TABLES},
    **{name: Asked(ask) for name, ask in PAGES.items()},
    **{name: asked for file in (*FILES, *SOME) for name, asked in _of_file(file).items()},
}
