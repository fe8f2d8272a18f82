"""Every message meets every state, of one row and of a node of a gang: what comes of it is written here."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from pgfleet.console.sandbox.box import Box
from pgfleet.schema.messages import Message
from pgfleet.schema.reservation import ACTIONS, Status, pod_name
from pgfleet.schema.tickets import NUDGE
from pgfleet.workers.reservation.machine import KIND, step
from pgfleet.workers.reservation.tools import Turn
from pgfleet.workers.runtime.outcomes import Advance, Done, Outcome, Reject, Wait
from worlds.fleet import Connection, Worker, assert_sound, move_clock, new_id, send, settings_for, worker_on
from worlds.reservations import QUEUE, all_are, all_ended, ask, create, gang, letters, rows_of, statuses


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


@pytest.fixture
def asked(dsn: str, conn: Connection, box: Box) -> Iterator[Asked]:
    """No row is forgotten, and no sweep comes of itself."""
    conn.execute("update public.periodic set next_at = 'infinity'")
    outcomes: list[Outcome | Exception] = []

    def recording(message: Message, turn: Turn) -> Outcome:
        try:
            outcome = step(message, turn)
        except Exception as error:
            outcomes.append(error)
            raise
        outcomes.append(outcome)
        return outcome

    with worker_on(replace(KIND, step=recording), settings_for(dsn, box)) as worker:
        yield Asked(conn, box, worker, outcomes)


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


LATE = {
    state: dict.fromkeys(
        ("extend", "enable_jupyter", "disable_jupyter", "add_user", "cancel"), f"Done: too late, it is {state}"
    )
    for state in ("expired", "cancelled", "failed")
}
OF_NO_ROW = {
    "sweep_pods": "changed",
    "sweep_stuck": "Done: nobody new is stuck",
    "sweep": "answered by the runtime",
    "admit": "Done: nobody waits",
}
LIVE = {
    **dict.fromkeys(("extend", "enable_jupyter", "disable_jupyter"), "changed"),
    "advance, stale": "Done: a stale ticket",
    "serve_logs": "Wait: a chunk is there",
    "cancel": "changed cancelled",
    **OF_NO_ROW,
}
IN_LINE = {
    **LIVE,
    "add_user": "changed",
    "suspect_pod": "Done: the pod is gone",
    "advance, a nudge": "Done: in line",
    "advance": "Wait: in line",
}
WITH_POD = {**LIVE, "suspect_pod": "Done: there is another pod of its name"}
OVER = {
    "suspect_pod": "Done: the pod is gone",
    "serve_logs": "changed",
    **dict.fromkeys(("advance, stale", "advance, a nudge", "advance"), "Done: all gone"),
    **OF_NO_ROW,
}
# What comes of each message in each state. Of a row of its own; for a node of a gang, what is else is below.
EXPECTED: dict[str, dict[str, str]] = {
    "unknown": {
        **dict.fromkeys(
            ("extend", "enable_jupyter", "disable_jupyter", "add_user", "retry", "cancel"),
            "Wait: no such reservation yet",
        ),
        **dict.fromkeys(("advance, stale", "advance, a nudge", "advance"), "Done: no such row"),
        "suspect_pod": "Done: the pod is gone",
        "serve_logs": "Done: nobody reads",
        "create_reservation": "changed pending",
        **OF_NO_ROW,
    },
    "pending": {**IN_LINE, "admit": "changed preparing"},
    "queued": {**IN_LINE, "admit": "Done: nobody can move up"},
    "preparing": {
        **WITH_POD,
        "add_user": "Wait: its pod starts",
        "advance, a nudge": "Done: Starting: waiting for SSH to answer",
        "advance": "Wait: Starting: waiting for SSH to answer",
    },
    "active": {**WITH_POD, "add_user": "changed", "advance, a nudge": "changed", "advance": "Wait: active"},
    "expired": {**LATE["expired"], **OVER, "retry": "changed pending"},
    "cancelled": {**LATE["cancelled"], **OVER, "retry": "changed pending"},
    "failed": {**LATE["failed"], **OVER, "retry": "changed pending"},
    "cancelled_before": {
        **LATE["cancelled"],
        **OVER,
        "advance, stale": "changed",
        "retry": "Reject: reservation ID1 was cancelled before it was created: nothing is known of it",
    },
}
# Jupyter is the first node's, so what is looked at by the second one's turn has not changed.
OF_GANGS: dict[str, dict[str, str]] = {
    "active": {"advance, a nudge": "Done: active"},
    "cancelled_before": {
        "retry": "Reject: reservation ID2 was cancelled before it was created: nothing is known of it"
    },
}


def expected(state: str, nodes: int) -> dict[str, str]:
    known = "cancelled" if state == "cancelled_before" else state
    alike = {"create_reservation": f"Done: known already, {known}", **EXPECTED[state]}
    if nodes == 1:
        return {"retry": f"Reject: reservation ID1 is {state}: only one that is over is retried", **alike}
    of_node = {} if state == "unknown" else {"retry": "Reject: reservation ID2 is a node of gang ID1: retry that"}
    return {**alike, **of_node, **OF_GANGS.get(state, {})}


@pytest.mark.parametrize("nodes", [1, 2])
@pytest.mark.parametrize("state", STATES, ids=lambda state: state.__name__)
def test_what_comes_of_each_message_in_each_state(
    asked: Asked, state: Callable[[Asked, int], list[str]], nodes: int
) -> None:
    asked.ids.extend(state(asked, nodes))
    # What makes the row comes last where there is none, and first where there is one.
    messages = sorted(BODIES, key=lambda each: (each == "create_reservation") is (state is unknown))

    before, found = statuses(asked.conn, asked.ids), {}
    for message in messages:
        if statuses(asked.conn, asked.ids) != before:
            asked.hold_back()
            asked.ids[:] = state(asked, nodes)
        found[message] = asked.what_comes_of(message)

    assert found == expected(state.__name__, nodes)
    refused = sum(said.startswith("Reject") for said in found.values())
    assert len(letters(asked.conn)) == refused


def test_no_message_and_no_state_is_left_out() -> None:
    asked_about = {message.partition(",")[0] for message in BODIES}
    # Another word for the same.
    assert asked_about | {"extend_reservation"} == ACTIONS.keys()
    assert {state.__name__ for state in STATES} - {"unknown", "cancelled_before"} == {each.value for each in Status}
