"""The clock's own messages: who is silent and who only was not heard, the minute's analytics, and schedules."""

from collections.abc import Iterator
from typing import Any

import pytest

from pgfleet.workers.runtime import metrics
from worlds.database import fresh_database
from worlds.fleet import move_clock
from worlds.heartbeats import Heart, heart_in, pool


@pytest.fixture(scope="module")
def module_heart(server_dsn: str, template: str) -> Iterator[Heart]:
    """One database for all."""
    with fresh_database(server_dsn, template) as dsn, heart_in(dsn) as running:
        yield running


@pytest.fixture
def heart(module_heart: Heart) -> Heart:
    return module_heart.clean()


SECONDS_UP = "select extract(epoch from public.fleet_now() - pg_postmaster_start_time())::float8"
TIMEOUT = "Heartbeat timeout after 5 minutes"


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


def test_a_server_that_just_started_gives_nodes_their_time(heart: Heart) -> None:
    limit = heart.one(SECONDS_UP) + 100
    heard(heart, 1)
    heart.hear(heart.node(), -limit - 10)

    first = heart.sweep(node_offline_s=limit)
    move_clock(heart.conn, 101)
    second = heart.sweep(node_offline_s=limit)

    assert (first.silent, first.marked, first.held_back.startswith("the server started at ")) == (1, 0, True)
    assert (second.marked, second.held_back) == (1, None)


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
    assert (third.held_back, third.marked) == ("most were silent a while ago: 1 are not back yet", 0)
    assert (fourth.held_back, fourth.held_back_since, fourth.marked) == (None, None, 1)
    lines = capsys.readouterr().out.splitlines()
    assert len([line for line in lines if "sweep.held_back" in line and "machine=node" in line]) == 1
    assert len([line for line in lines if "sweep.marked_offline" in line]) == 1


def test_one_node_held_in_somebodys_transaction_keeps_no_other_from_being_marked(
    heart: Heart, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pgfleet.schema.queue.kernel.LOCK_TIMEOUT", "100ms")
    nodes = heard(heart, 2)
    move_clock(heart.conn, 301)
    heard(heart, 2)
    with heart.other() as holder:
        holder.execute("select from autoscaler.nodes where id = %s for update", (nodes[0],))

        heart.sweep(lease_s=1)

        assert heart.status(nodes[1]) == "OFFLINE"


def minutes(heart: Heart) -> list[tuple[Any, ...]]:
    return heart.all(
        "select total_active_pools, total_current_instances, total_active_instances, peak_instances_24h,"
        " max_active_pools_24h, active_nodes from autoscaler.system_analytics order by timestamp"
    )


def test_a_minute_is_rolled_up_once(heart: Heart) -> None:
    figures = {"avg_cpu_utilization": 20, "max_cpu_utilization": 90}
    heart.hear(heart.node(), pools=[pool("a", 4, **figures), pool("b", 2, avg_cpu_utilization=40)])
    heart.hear(heart.node(), status="error", pools=[pool("c", 1, avg_cpu_utilization=60)])
    heart.hear(heart.node(), pools=[pool("idle", 50, is_active=False)])
    heart.node()

    for _ in range(2):
        heart.roll_up()
    heart.tell({"action": "roll_up"}, {"action": "roll_up"})

    assert minutes(heart)[0] == (3, 7, 3, 7, 3, 2)
    assert len(minutes(heart)) <= 2  # where the minute ended meanwhile
    columns = "avg_system_cpu, max_system_cpu, avg_system_memory, date_trunc('minute', timestamp) = timestamp"
    assert heart.all(f"select {columns} from autoscaler.system_analytics limit 1") == [(40, 90, 50, True)]


def test_peaks_are_of_24_hours_and_deleted_and_silent_nodes_do_not_count(heart: Heart) -> None:
    gone, quiet, stays = (heart.node() for _ in range(3))
    for node, size in ((gone, 5), (quiet, 3), (stays, 1)):
        heart.hear(node, pools=[pool(f"of-{node}", size)])
    heart.roll_up()
    heart.conn.execute("update autoscaler.nodes set deleted_at = now() where id = %s", (gone,))
    heart.conn.execute("update autoscaler.nodes set status = 'OFFLINE' where id = %s", (quiet,))

    for ahead_s in (60, 86_400 - 180, 240):
        move_clock(heart.conn, ahead_s)
        heart.roll_up()

    assert minutes(heart) == [(3, 9, 3, 9, 3, 3), *[(1, 1, 1, 9, 3, 1)] * 2, (1, 1, 1, 1, 1, 1)]


def at_clock(heart: Heart, clock: str) -> None:
    """Move the fleet's time to the next such time of the day, UTC."""
    day = "(public.fleet_now() at time zone 'UTC')::date + interval '1 day' + %s::time"
    move_clock(
        heart.conn, heart.one(f"select extract(epoch from ({day}) at time zone 'UTC' - now())::float8", (clock,))
    )


SCHEDULES: list[tuple[str, list[tuple[str, str, int]], int | None]] = [
    ("08:59:30", [("09:00", "17:00", 4)], None),
    ("09:00:30", [("09:00", "17:00", 4)], 4),
    ("16:59:30", [("09:00", "17:00", 4)], 4),
    ("17:00:30", [("09:00", "17:00", 4)], None),
    ("23:00:30", [("22:00", "06:00", 4)], 4),
    ("05:59:30", [("22:00", "06:00", 4)], 4),
    ("06:00:30", [("22:00", "06:00", 4)], None),
    ("12:00:30", [("09:00", "17:00", 4), ("11:00", "13:00", 6), ("14:00", "15:00", 9)], 6),
    ("12:00:30", [("09:00", "17:00", 99)], 10),
    ("12:00:30", [("09:00", "17:00", 0)], 1),
]


@pytest.mark.parametrize(("clock", "given", "target"), SCHEDULES)
def test_a_schedule_asks_for_its_target_within_its_hours_and_the_pools_limits(
    heart: Heart, clock: str, given: list[tuple[str, str, int]], target: int | None
) -> None:
    node, other = heart.node(), heart.node()
    heart.hear(node, pools=[pool("ours")])
    heart.hear(other, pools=[pool("others")])
    columns = "(node_id, name, start_time, end_time, target_instances)"
    for schedule in given:
        heart.conn.execute(
            f"insert into autoscaler.schedules {columns} values (%s, 's', %s, %s, %s)", (node, *schedule)
        )
    at_clock(heart, clock)

    heart.roll_up()

    assert (heart.pool("ours")["target_instances"], heart.pool("others")["target_instances"]) == (target, None)


def test_a_schedule_that_is_over_or_switched_off_asks_for_nothing_any_more(heart: Heart) -> None:
    nodes = [heart.node() for _ in range(2)]
    for node in nodes:
        heart.hear(node, pools=[pool(f"of-{node}")])
        columns = "(node_id, name, start_time, end_time, target_instances)"
        heart.conn.execute(f"insert into autoscaler.schedules {columns} values (%s, 's', '00:00', '23:59', 3)", (node,))
    at_clock(heart, "12:00:30")
    heart.roll_up()
    before = [heart.pool(f"of-{node}")["target_instances"] for node in nodes]

    heart.conn.execute("update autoscaler.schedules set is_active = false where node_id = %s", (nodes[0],))
    heart.conn.execute("delete from autoscaler.schedules where node_id = %s", (nodes[1],))
    heart.roll_up()

    assert before == [3, 3]
    assert [heart.pool(f"of-{node}")["target_instances"] for node in nodes] == [None, None]
