"""A reservation, or a gang, in each of its states; and each message that it may be sent."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pgfleet.console.sandbox.box import Box
from pgfleet.schema.environment.fleet import pod_name
from pgfleet.schema.tickets import NUDGE
from pgfleet.workers.runtime.outcomes import Advance, Done, Outcome, Reject, Wait
from worlds.fleet import Connection, Worker, assert_sound, move_clock, new_id, send
from worlds.reservations import QUEUE, all_are, all_ended, ask, create, gang, rows_of, statuses


@dataclass(frozen=True, slots=True)
class Asked:
    """One reservation, or a gang by the id of its second node, and what came of what it was asked."""

    conn: Connection
    box: Box
    worker: Worker
    outcomes: list[Outcome | Exception]
    ids: list[str] = field(default_factory=list)

    @property
    def row_id(self) -> str:
        return self.ids[-1]

    def what_comes_of(self, message: str) -> str:
        """The outcome of one message, with nothing else under way."""
        body = BODIES[message](self)
        self.hold_back()
        self.outcomes.clear()
        send(self.conn, QUEUE, body)
        self.worker.run_once(1)
        assert_sound(self.conn)
        assert len(set(statuses(self.conn, self.ids))) <= 1, "one state for all of a gang"
        return self.said(self.outcomes[-1]) if self.outcomes else "answered by the runtime"

    def hold_back(self) -> None:
        """Whatever is in the queue is not due for a long time."""
        self.conn.execute("update pgmq.q_gpu_reservations set vt = vt + interval '1 year'")

    def said(self, outcome: Outcome | Exception) -> str:
        match outcome:
            case Advance():
                moved = sorted({change.to for change in outcome.changes if change.to})
                return " ".join(["changed", *moved])
            case Done() | Reject() | Wait():
                said = f"{type(outcome).__name__}: {outcome.reason}"
            case _:
                said = f"{type(outcome).__name__}: {outcome}"
        for index, row_id in enumerate(self.ids):
            said = said.replace(row_id, f"ID{index + 1}").replace(pod_name(row_id), f"POD{index + 1}")
        return re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "OTHER", said)


def request(action: str, **fields: Any) -> Callable[[Asked], dict[str, Any]]:
    return lambda asked: {"action": action, "reservation_id": asked.row_id, "user_id": "ada", **fields}


def _create(asked: Asked) -> dict[str, Any]:
    """The same once more; of a gang, by its first row."""
    nodes = {"total_nodes": len(asked.ids)} if len(asked.ids) > 1 else {}
    wanted = {"user_id": "ada", "github_user": "ada", "gpu_type": "h100", "gpu_count": 2}
    return {"action": "create_reservation", "reservation_id": asked.ids[0], **wanted, **nodes}


def _advance(asked: Asked) -> dict[str, Any]:
    known = rows_of(asked.conn, [asked.row_id])
    return {"action": "advance", "reservation_id": asked.row_id, "ticket": known[0]["ticket"] if known else 1}


def _stale(asked: Asked) -> dict[str, Any]:
    return {**_advance(asked), "ticket": 999}


def _logs(asked: Asked) -> dict[str, Any]:
    if not rows_of(asked.conn, [asked.row_id]):
        return {"action": "serve_logs", "request_id": new_id()}
    found = asked.conn.execute("select public.ask_for_logs(%s)", (asked.row_id,)).fetchone()
    assert found is not None
    return {"action": "serve_logs", "request_id": str(found[0])}


def _suspect(asked: Asked) -> dict[str, Any]:
    name = pod_name(asked.row_id)
    return {"action": "suspect_pod", "pod_uid": "", "pod_name": name, "reservation_id": asked.row_id}


# What moves a row comes last.
BODIES: dict[str, Callable[[Asked], dict[str, Any]]] = {
    "create_reservation": _create,
    "extend": request("extend", extension_hours=1),
    "enable_jupyter": request("enable_jupyter"),
    "disable_jupyter": request("disable_jupyter"),
    "add_user": request("add_user", github_username="bob"),
    "advance, stale": _stale,
    "suspect_pod": _suspect,
    "sweep_pods": lambda _: {"action": "sweep_pods"},
    "sweep_stuck": lambda _: {"action": "sweep_stuck"},
    "sweep": lambda _: {"action": "sweep"},
    "serve_logs": _logs,
    "advance, a nudge": lambda asked: {**_advance(asked), "ticket": NUDGE},
    "advance": _advance,
    "admit": lambda _: {"action": "admit", "gpu_type": "h100"},
    "retry": request("retry"),
    "cancel": request("cancel"),
}


def make(asked: Asked, nodes: int) -> list[str]:
    return gang(asked.conn, nodes, gpu_count=2) if nodes > 1 else [create(asked.conn)]


def unknown(asked: Asked, nodes: int) -> list[str]:
    return [new_id() for _ in range(nodes)]


def pending(asked: Asked, nodes: int) -> list[str]:
    ids = make(asked, nodes)
    asked.worker.run_once(1)
    return ids


def queued(asked: Asked, nodes: int) -> list[str]:
    asked.conn.execute("update public.gpu_types set total_cluster_gpus = 1 where gpu_type = 'h100'")
    return reached(asked, nodes, "queued")


def reached(asked: Asked, nodes: int, status: str) -> list[str]:
    ids = make(asked, nodes)
    all_are(asked.conn, asked.worker, ids, status)
    return ids


def preparing(asked: Asked, nodes: int) -> list[str]:
    """All that a look shows has been shown."""
    asked.box.starts("never-ready", times=nodes)
    ids, shown = make(asked, nodes), ["Starting: waiting for SSH to answer"] * nodes
    asked.worker.run_until(lambda: [row["current_detailed_status"] for row in rows_of(asked.conn, ids)] == shown)
    return ids


def active(asked: Asked, nodes: int) -> list[str]:
    return reached(asked, nodes, "active")


def expired(asked: Asked, nodes: int) -> list[str]:
    ids = active(asked, nodes)
    move_clock(asked.conn, 4 * 3600 + 180)
    all_ended(asked.conn, asked.worker, ids)
    return ids


def cancelled(asked: Asked, nodes: int) -> list[str]:
    ids = active(asked, nodes)
    ask(asked.conn, "cancel", ids[0])
    all_ended(asked.conn, asked.worker, ids)
    return ids


def failed(asked: Asked, nodes: int) -> list[str]:
    ids = preparing(asked, nodes)
    move_clock(asked.conn, 3601)
    all_ended(asked.conn, asked.worker, ids)
    return ids


def cancelled_before(asked: Asked, nodes: int) -> list[str]:
    ids = unknown(asked, nodes)
    for each in ids:
        ask(asked.conn, "cancel", each)
    move_clock(asked.conn, 31)
    asked.worker.run()
    return ids


STATES = (unknown, pending, queued, preparing, active, expired, cancelled, failed, cancelled_before)
