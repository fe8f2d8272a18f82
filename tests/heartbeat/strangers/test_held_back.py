"""Nobody but a worker and the owner can hold back the offline sweep, or keep a dead node from being marked."""

from typing import Any

import pytest

from pgfleet.schema.nodes import keys
from pgfleet.schema.nodes.proofs import hash_of, proof_of
from pgfleet.schema.queue import periodic
from pgfleet.schema.replay.silence import believe
from worlds.fleet import move_clock, settings_for
from worlds.heartbeats import Heart


def heard(heart: Heart, number: int) -> list[int]:
    nodes = [heart.node() for _ in range(number)]
    heart.tell(*(heart.beat(node) for node in nodes))
    return nodes


def sweep(heart: Heart) -> Any:
    """A sweep that the worker is sent while all else still waits."""
    in_hand = "update pgmq.q_node_heartbeats set vt = public.fleet_now() + '1 day', read_ct = 1"
    heart.conn.execute(f"{in_hand} where vt <= public.fleet_now()")
    return heart.sweep()


def signed(heart: Heart, node: int, key: str) -> dict[str, Any]:
    body = heart.beat(node)
    return {**body, "proof": proof_of(hash_of(key), body)}


@pytest.mark.parametrize(("by", "role"), [("eve", "USER"), ("g", "SERVICE"), ("own", "NODE"), ("x", "ADMIN")])
def test_what_strangers_let_wait_holds_back_no_sweep(heart: Heart, by: str, role: str) -> None:
    dead, *alive = heard(heart, 4)
    move_clock(heart.conn, 101)
    heart.ask(str(alive[0]) if by == "own" else by, role, *(heart.beat(node) for node in alive))
    move_clock(heart.conn, 200)
    heart.tell(*(heart.beat(node) for node in alive))
    heart.ask(str(alive[0]) if by == "own" else by, role, *(heart.beat(node) for node in alive))
    heart.conn.execute("update pgmq.q_node_heartbeats set enqueued_at = enqueued_at - interval '200 seconds'")

    swept = sweep(heart)

    assert (swept.held_back, swept.marked, heart.status(dead)) == (None, 1, "OFFLINE")


def test_a_dead_node_is_kept_alive_by_nobody_but_itself(heart: Heart) -> None:
    dead, proven, own, *alive = heard(heart, 9)
    later = alive.pop()
    key = keys.rotate(heart.conn, str(proven))
    keys.rotate(heart.conn, str(dead))
    move_clock(heart.conn, 301)
    heart.tell(*(heart.beat(node) for node in alive))
    heart.ask(
        "eve", "USER", heart.beat(dead), {**heart.beat(dead), "proof": "0" * 64}, {"proof": 7, **heart.beat(dead)}
    )
    heart.ask("eve", "USER", {**signed(heart, proven, key), "node_id": dead})
    heart.ask(str(proven), "NODE", heart.beat(dead))
    heart.ask("g", "SERVICE", signed(heart, proven, key))
    heart.ask(str(own), "NODE", heart.beat(own))
    heart.ask(str(later), "NODE", heart.beat(later), due_in_s=86_400)

    sweep(heart)

    assert [heart.status(node) for node in (dead, later, proven, own)] == ["OFFLINE", "OFFLINE", "ACTIVE", "ACTIVE"]


ODD = [
    None,
    7,
    "",
    "ä" * 64,
    "0" * 64,
    ["x"],
    {"x": 1},
    "x" * 100_000,
    "9999-12-31T23:59:59-23:59",
    "0001-01-01T00:00:00+23:59",
]


@pytest.mark.parametrize("field", ["source", "node_id", "id", "sent_at", "proof", "action"])
def test_nothing_that_waits_makes_a_sweep_fail(heart: Heart, field: str) -> None:
    (dead,) = heard(heart, 1)
    key = keys.rotate(heart.conn, str(dead))
    move_clock(heart.conn, 301)
    for odd in ODD:
        body = heart.beat(dead) | {field: odd}
        heart.ask("eve", "USER", body | {"proof": "x"} if field != "proof" else body)
        heart.ask("g", "SERVICE", {**body, "proof": proof_of(hash_of(key), body)} if field == "sent_at" else body)

    swept = sweep(heart)

    assert (swept.held_back, swept.marked) == (None, 1)


def test_a_person_who_believes_keeps_a_node_that_has_proven_itself(heart: Heart) -> None:
    dead, proven = heard(heart, 2)
    key = keys.rotate(heart.conn, str(proven))
    move_clock(heart.conn, 301)
    heart.conn.execute(
        "insert into public.offline_sweeps (machine, swept_at, alive, silent, marked, watching_since)"
        " values ('node', public.fleet_now(), 0, 0, 0, 'epoch')"
    )
    heart.ask("g", "SERVICE", signed(heart, proven, key))

    believe(heart.conn, "node", settings_for(heart.dsn), "ada")

    assert [heart.status(node) for node in (dead, proven)] == ["OFFLINE", "ACTIVE"]


def test_a_queue_that_stays_full_delays_the_sweep_and_does_not_end_it(heart: Heart) -> None:
    dead, alive, waits = heard(heart, 3)
    move_clock(heart.conn, 600)
    heart.tell(heart.beat(alive))
    heart.send(heart.beat(waits))
    move_clock(heart.conn, 290)
    first = sweep(heart)
    move_clock(heart.conn, 20)
    heart.tell(heart.beat(alive))

    second = sweep(heart)

    assert first.held_back.startswith("heartbeats wait in the queue for ")
    assert (first.marked, second.marked) == (0, 1)
    assert (heart.status(dead), heart.status(waits)) == ("OFFLINE", "ACTIVE")
    assert heart.history(dead)[-1][2] == "Heartbeat timeout after 5 minutes, believed after 15 minutes"


def test_the_clocks_own_messages_come_before_all_that_waits(heart: Heart) -> None:
    heart.ask("eve", "USER", *(heart.beat(1) for _ in range(50)))
    heart.conn.execute("update public.periodic set next_at = public.fleet_now() where queue = 'node_heartbeats'")

    periodic.send_due(heart.conn, "node_heartbeats")

    actions = {task.claimed.body["action"] for task in heart.worker.claim(2)}
    assert actions == {"sweep", "roll_up"}
