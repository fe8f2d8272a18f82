"""Event workers that are killed: every move is told at least once, in order, and a batch keeps its id."""

from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from crashes.nursery import Nursery
from pgfleet.producers import event as producer
from worlds.database import Connection
from worlds.feed.moves import make, move
from worlds.fleet import move_clock, until, worker_environment
from worlds.receiver import Receiver

MODULE = "pgfleet.workers.event"
QUICK: dict[str, Any] = {"lease_s": 3, "backoff_s": 0.1, "events_may_reach": "127.0.0.1"}
RUNTIME = "pgfleet.workers.runtime"
POST = "pgfleet.workers.clients.webhooks.posting:Webhooks.post"
# Where it dies, and at which call: the first settles what its user asks, the second the look that makes a batch, the
# third the delivery, the fourth the look after it.
POINTS = [
    *(("pgfleet.schema.queue.claims:claim", "after", nth) for nth in (1, 2, 3)),
    *((f"{RUNTIME}.serve:work", "before", nth) for nth in (1, 2, 3)),
    *(
        (f"{RUNTIME}.settle:{stage}", "after", nth)
        for stage in ("_change_rows", "_is_all_written", "_try")
        for nth in (1, 2, 3, 4)
    ),
    (f"{RUNTIME}.settle:_send", "after", 2),
    (f"{RUNTIME}.settle:_send", "after", 3),
    *((POST, when, nth) for when in ("before", "after") for nth in (1, 2)),
]


@pytest.mark.parametrize(("place", "when", "nth"), POINTS)
def test_all_moves_are_told_in_order_whenever_the_worker_dies(
    dsn: str, conn: Connection, receiver: Receiver, forks: Nursery, tmp_path: Path, place: str, when: str, nth: int
) -> None:
    marker, environment = tmp_path / "killed", worker_environment(dsn, None, **QUICK)
    made = producer.subscribe("ada", receiver.url, conn, machines=["reservation"])
    rows = [make(conn)]
    with forks.worker(MODULE, environment, marker, place, when, nth):
        # More and more comes, so that there is a batch after the first.
        until(lambda: marker.exists() or more(conn, rows), what=f"death {when} {place}")

    # What it had in hand is free again.
    move_clock(conn, QUICK["lease_s"] + 1)
    with forks.worker(MODULE, environment):
        until(lambda: len(told(receiver)) == 2 * len(rows) - 1, what="all moves")
        until(lambda: idle(conn), what="an idle subscription")

    by_id = defaultdict(set)
    for got in receiver.got:
        by_id[tuple(each["id"] for each in got.events)].add(got.id)
    order = list(told(receiver))
    assert order == sorted(order)
    assert all(len(ids) == 1 for ids in by_id.values())
    # What is told again is the batch that was in hand.
    assert len(receiver.got) - len(by_id) <= 1
    assert all(got.is_signed_with(made.secret) for got in receiver.got)
    assert conn.execute("select count(*) from public.dead_letters").fetchone() == (0,)


def more(conn: Connection, rows: list[str]) -> bool:
    """The row before moves and another is made, once what there was has been told; False, as it goes on."""
    behind = conn.execute("select 1 from public.event_subscriptions where last_delivered_at is not null").fetchone()
    if behind and len(rows) < 3:
        move(conn, rows[-1], "queued")
        rows.append(make(conn))
    return False


def told(receiver: Receiver) -> dict[int, None]:
    """The ids of events in the order in which they came first."""
    return dict.fromkeys(int(each["id"]) for got in list(receiver.got) for each in got.events)


def idle(conn: Connection) -> bool:
    return not conn.execute(
        "select 1 from pgmq.q_event_deliveries where message ->> 'action' <> 'look_around'"
    ).fetchall()
