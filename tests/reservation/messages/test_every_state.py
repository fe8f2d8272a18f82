"""Every message meets every state, of one row and of a node of a gang: what comes of it is written here."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from pgfleet.console.sandbox.box import Box
from pgfleet.schema.messages import Message
from pgfleet.schema.reservation import ACTIONS, Status
from pgfleet.workers.reservation.machine import KIND, step
from pgfleet.workers.reservation.tools import Turn
from pgfleet.workers.runtime.outcomes import Outcome
from reservation.messages.asked import BODIES, STATES, Asked, unknown
from worlds.fleet import Connection, settings_for, worker_on
from worlds.reservations import letters, statuses

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
