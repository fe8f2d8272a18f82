"""What is done every minute: the analytics of all pools together, and what schedules ask for."""

from itertools import pairwise
from typing import Any

import pytest

from worlds.fleet import move_clock
from worlds.heartbeats import Heart, pool


def at_clock(heart: Heart, clock: str) -> None:
    """Move the fleet's time to the next such time of the day, UTC."""
    day = "(public.fleet_now() at time zone 'UTC')::date + interval '1 day' + %s::time"
    move_clock(
        heart.conn, heart.one(f"select extract(epoch from ({day}) at time zone 'UTC' - now())::float8", (clock,))
    )


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

    written = [minutes(heart)[-1]]
    for ahead_s in (60, 86_400 - 180, 240):
        move_clock(heart.conn, ahead_s)
        heart.roll_up()
        written.append(minutes(heart)[-1])

    assert written == [(3, 9, 3, 9, 3, 3), *[(1, 1, 1, 9, 3, 1)] * 2, (1, 1, 1, 1, 1, 1)]


def written(heart: Heart) -> list[str]:
    return heart.all("select to_char(timestamp, 'HH24:MI') from autoscaler.system_analytics order by timestamp")


@pytest.mark.parametrize("due", ["11:59:59", "12:00:00", "12:00:30"])
def test_each_minute_is_written_once_whatever_the_second_at_which_it_is_due(heart: Heart, due: str) -> None:
    at_clock(heart, due)
    late_s = [0.5, 1.5, 0.2, 2.5, 0]

    for before, now in pairwise([0.0, *late_s]):
        heart.roll_up()
        move_clock(heart.conn, 60 + now - before)
    heart.roll_up()

    found = written(heart)
    assert len(found) == len(set(found)) in (5, 6, 7)
    assert found == every_minute(heart)


def every_minute(heart: Heart) -> list[str]:
    """All from the first that is written to this one."""
    series = "generate_series(min(timestamp), public.fleet_now() at time zone 'UTC', '1 minute')"
    return heart.all(
        f"select to_char(m, 'HH24:MI') from (select {series} m from autoscaler.system_analytics) s order by m"
    )


def test_minutes_without_a_worker_are_written_as_the_last_one_before_them(heart: Heart) -> None:
    node = heart.node()
    heart.hear(node, pools=[pool("p", 4)])
    heart.roll_up()
    heart.send(heart.beat(node, pools=[pool("p", 9)]), {"action": "roll_up"})

    move_clock(heart.conn, 600)
    heart.worker.run_once(1000)
    heart.roll_up()

    assert written(heart) == every_minute(heart)
    sizes = heart.all("select total_current_instances from autoscaler.system_analytics order by timestamp")
    assert (sizes[:10], sizes[10]) == ([4] * 10, 9)


def test_minutes_of_an_absence_of_more_than_a_day_are_not_made_up(heart: Heart) -> None:
    heart.roll_up()

    move_clock(heart.conn, 3 * 86_400)
    heart.roll_up()
    move_clock(heart.conn, 60)
    heart.roll_up()

    assert len(written(heart)) == 3


def test_a_clock_that_is_put_back_writes_no_minute_twice(heart: Heart) -> None:
    for ahead_s in (0, 1500, 60, -1200, 60, 1200):
        move_clock(heart.conn, ahead_s)
        heart.roll_up()

    assert written(heart) == every_minute(heart)


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
