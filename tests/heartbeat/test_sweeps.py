"""The sweep: who is silent, and who only was not heard."""

from typing import Any

import pytest

from pgfleet.workers.runtime import metrics
from worlds.fleet import move_clock
from worlds.heartbeats import Heart

TIMEOUT = "Heartbeat timeout after 5 minutes"
BELIEVED = "each is believed gone after 15 minutes of silence, or by `pgfleet nodes believe`"


def heard(heart: Heart, number: int, **given: Any) -> list[int]:
    nodes = [heart.node() for _ in range(number)]
    heart.tell(*(heart.beat(node, **given) for node in nodes))
    return nodes


def heard_again(heart: Heart, nodes: list[int]) -> None:
    heart.tell(*(heart.beat(node) for node in nodes))


def offline(heart: Heart) -> int:
    return int(heart.one("select count(*) from autoscaler.nodes where status = 'OFFLINE' and deleted_at is null"))


def held_back(machine: str = "node") -> float:
    return float(metrics.HELD_BACK.labels(machine)._value.get())  # noqa: SLF001


def test_silence_of_five_minutes_is_offline_with_its_reason(heart: Heart) -> None:
    (silent,) = heard(heart, 1)
    (faulty,) = heard(heart, 1, status="error")
    move_clock(heart.conn, 301)
    alive = heard(heart, 3)

    swept = heart.sweep()

    assert (swept.alive, swept.silent, swept.marked, swept.held_back) == (5, 2, 2, None)
    assert [heart.status(node) for node in (silent, faulty, *alive)] == ["OFFLINE"] * 2 + ["ACTIVE"] * 3
    assert [heart.history(node)[-1] for node in (silent, faulty)] == [
        ("ACTIVE", "OFFLINE", TIMEOUT),
        ("ERROR", "OFFLINE", TIMEOUT),
    ]
    told = "select event_type, reason, triggered_by from autoscaler.node_lifecycle_logs where node_id = %s order by id"
    assert heart.all(told, (silent,))[-1] == ("WENT_OFFLINE", TIMEOUT, "system")


def test_silence_of_less_is_none_and_a_second_sweep_tells_nothing_again(heart: Heart) -> None:
    (node,) = heard(heart, 1)
    move_clock(heart.conn, 295)
    assert heart.sweep().marked == 0
    move_clock(heart.conn, 10)

    marked = [heart.sweep().marked for _ in range(2)]

    assert marked == [1, 0]
    assert len(heart.history(node)) == 2


def test_nodes_that_were_never_seen_and_deleted_ones_are_left_alone(heart: Heart) -> None:
    never = heart.node()
    (deleted,) = heard(heart, 1)
    heart.conn.execute("update autoscaler.nodes set deleted_at = now() where id = %s", (deleted,))
    move_clock(heart.conn, 400)

    swept = heart.sweep()

    assert (swept.alive, swept.silent, swept.marked) == (0, 0, 0)
    assert (heart.status(never), heart.status(deleted)) == ("INACTIVE", "ACTIVE")


def test_a_heartbeat_brings_a_node_back_from_offline(heart: Heart) -> None:
    nodes = heard(heart, 2)
    move_clock(heart.conn, 301)
    heart.sweep()

    heart.hear(nodes[0])
    heart.hear(nodes[1], error_message="still broken")

    assert [heart.history(node)[-1] for node in nodes] == [
        ("OFFLINE", "ACTIVE", "it reports: ok"),
        ("OFFLINE", "ERROR", "still broken"),
    ]


def test_ten_healthy_nodes_stay_while_their_heartbeats_wait_in_the_queue(heart: Heart) -> None:
    nodes = heard(heart, 10)
    move_clock(heart.conn, 140)
    heart.send(*(heart.beat(node) for node in nodes))
    move_clock(heart.conn, 170)
    waiting = [delivery.token.msg_id for delivery in heart.worker.claim()]

    swept = heart.sweep(mass_outage_share=1)
    move_clock(heart.conn, 100)
    heart.worker.run_once()

    assert len(waiting) == 10
    assert (swept.silent, swept.marked) == (10, 0)
    assert swept.held_back.startswith("heartbeats wait in the queue for ")
    assert (offline(heart), heart.queue()) == (0, [])


def test_a_worker_that_was_away_hears_its_queue_before_it_sweeps(heart: Heart) -> None:
    nodes = heard(heart, 10)
    heart.send({"action": "sweep"})
    move_clock(heart.conn, 900)

    heart.tell({"action": "sweep"}, *(heart.beat(node) for node in nodes), {"action": "sweep"})

    assert offline(heart) == 0
    assert heart.swept("node").silent == 0


@pytest.mark.parametrize(
    ("silent", "alive", "marked"),
    [(1, 0, 1), (1, 1, 1), (2, 0, 2), (1, 2, 1), (2, 1, 0), (3, 0, 0), (11, 9, 11), (12, 8, 0)],
)
def test_more_than_55_percent_of_at_least_three_do_not_go_at_once(
    heart: Heart, silent: int, alive: int, marked: int
) -> None:
    heard(heart, silent)
    move_clock(heart.conn, 301)
    heard(heart, alive)

    swept = heart.sweep()

    assert (swept.alive, swept.silent, swept.marked) == (silent + alive, silent, marked)
    assert offline(heart) == marked
    if not marked:
        assert swept.held_back.startswith(f"{silent} of {silent + alive} would go offline at once, more than PGFLEET_")


def test_holding_back_is_said_once_and_since_when_until_it_is_over(
    heart: Heart, capsys: pytest.CaptureFixture[str]
) -> None:
    nodes = heard(heart, 3)
    move_clock(heart.conn, 301)
    first = heart.sweep()
    move_clock(heart.conn, 60)
    second = heart.sweep()
    gauge = held_back()

    heard_again(heart, nodes[:2])
    third = heart.sweep()
    move_clock(heart.conn, 301)
    heard_again(heart, nodes[:2])
    fourth = heart.sweep()

    assert first.held_back_since == first.swept_at
    assert (second.held_back_since, second.swept_at > first.swept_at) == (first.held_back_since, True)
    assert (gauge, held_back()) == (1, 0)
    # Most are back, and the others have as long as a silence may be to come back.
    assert (third.held_back, third.marked) == (f"most were silent a while ago: 1 are not back yet; {BELIEVED}", 0)
    assert (fourth.held_back, fourth.held_back_since, fourth.marked) == (None, None, 1)
    lines = capsys.readouterr().out.splitlines()
    assert len([line for line in lines if "sweep.held_back" in line and "machine=node" in line]) == 1
    assert len([line for line in lines if "sweep.marked_offline" in line]) == 1


def test_one_node_held_in_somebodys_transaction_keeps_no_other_from_being_marked(
    heart: Heart, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pgfleet.workers.runtime.bulk.LOCK_TIMEOUT", "100ms")
    nodes = heard(heart, 2)
    move_clock(heart.conn, 301)
    heard(heart, 2)
    with heart.other() as holder:
        holder.execute("select from autoscaler.nodes where id = %s for update", (nodes[0],))

        heart.sweep(lease_s=1)

        assert heart.status(nodes[1]) == "OFFLINE"
