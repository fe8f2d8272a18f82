"""Nodes whose clocks are wrong: they are alive as long as the queue hears them, and how far they are off is told."""

from datetime import datetime, timedelta

import pytest
from psycopg.types.json import Jsonb

from pgfleet.schema.doctor.examination import CHECKS, examine
from worlds.clusters import cluster_row, create, events
from worlds.fleet import move_clock
from worlds.heartbeats import Heart, pool

HOUR_S = 3600


def skew_of(heart: Heart, node: int | str) -> float:
    table, key = ("autoscaler.nodes", "id") if isinstance(node, int) else ("clusters.cluster_nodes", "node_id")
    return float(heart.one(f"select public.skew_of(skews) from {table} where {key} = %s", (node,)))


def alive_s(heart: Heart, node: int) -> float:
    """How long ago the node was heard."""
    ago = "select extract(epoch from public.fleet_now() - last_heartbeat at time zone 'UTC') from autoscaler.nodes"
    return float(heart.one(f"{ago} where id = %s", (node,)))


OFF_BY_S = [-20, -HOUR_S, -50 * 365 * 86_400, 20, HOUR_S]


@pytest.mark.parametrize("ahead_s", OFF_BY_S)
def test_a_node_whose_clock_is_off_by_more_than_the_limit_goes_offline_only_when_it_is_silent(
    heart: Heart, ahead_s: float
) -> None:
    node, right = heart.node(), heart.node()

    for _ in range(8):
        heart.tell(heart.beat(node, ahead_s), heart.beat(right))
        assert heart.sweep(node_offline_s=12, mass_outage_share=1).silent == 0
        move_clock(heart.conn, 5)
    before = heart.history(node)
    move_clock(heart.conn, 8)
    heart.hear(right)
    heart.sweep(node_offline_s=12, mass_outage_share=1)

    assert before == [("INACTIVE", "ACTIVE", "first heartbeat")]
    assert (heart.status(node), heart.status(right)) == ("OFFLINE", "ACTIVE")


@pytest.mark.parametrize("ahead_s", OFF_BY_S)
def test_a_cluster_node_whose_clock_is_off_by_more_than_the_limit_keeps_its_lead(heart: Heart, ahead_s: float) -> None:
    cluster = create(heart.conn, p_max_nodes=10, p_config=Jsonb({"healthCheckInterval": 2}))
    primary, *others = nodes = [heart.cluster_node(cluster) for _ in range(3)]
    heart.tell(*(heart.beat(node, cpu_usage_percent=1) for node in nodes))
    before = cluster_row(heart.conn, cluster)
    told = len(events(heart.conn, cluster))

    for _ in range(8):
        late = heart.beat(primary, ahead_s, cpu_usage_percent=1)
        heart.tell(late, *(heart.beat(node, cpu_usage_percent=1) for node in others))
        move_clock(heart.conn, 2)
        heart.sweep(mass_outage_share=1)

    after = cluster_row(heart.conn, cluster)
    kept = ("primary_node_id", "coordinator_node_id", "epoch", "status", "health_score")
    assert before["primary_node_id"] == primary
    assert {name: after[name] for name in kept} == {name: before[name] for name in kept}
    assert len(events(heart.conn, cluster)) == told
    assert {heart.status(node) for node in nodes} == {"online"}


@pytest.mark.parametrize("ahead_s", [-40, -HOUR_S])
def test_a_node_whose_clock_is_behind_comes_back_from_offline_with_its_next_heartbeat(
    heart: Heart, ahead_s: float
) -> None:
    node, in_cluster = heart.node(), heart.cluster_node()
    heart.tell(heart.beat(node, ahead_s), heart.beat(in_cluster, ahead_s))
    move_clock(heart.conn, 301)
    heart.sweep()
    before = (heart.status(node), heart.status(in_cluster))

    heart.tell(heart.beat(node, ahead_s), heart.beat(in_cluster, ahead_s))

    assert before == ("OFFLINE", "offline")
    assert (heart.status(node), heart.status(in_cluster)) == ("ACTIVE", "online")


def test_a_clock_that_is_put_back_an_hour_is_believed_within_half_the_limit(heart: Heart) -> None:
    node = heart.node()
    heart.hear(node, pools=[pool("p", 1)])
    seen = []

    for turn in range(1, 7):
        move_clock(heart.conn, 5)
        heart.send(heart.beat(node, -HOUR_S, status="error", pools=[pool("p", 1 + turn)]), {"action": "sweep"})
        heart.with_settings(node_offline_s=30, mass_outage_share=1).run_once(1000)
        seen.append((heart.status(node), heart.pool("p")["current_instances"], alive_s(heart, node) < 5))

    late, believed = seen[:2], seen[3:]
    assert late == [("ACTIVE", 1, True)] * 2
    assert believed == [("ERROR", 1 + turn, True) for turn in (4, 5, 6)]


def test_a_cluster_nodes_clock_that_is_put_back_an_hour_is_believed_within_half_the_limit(heart: Heart) -> None:
    node = heart.cluster_node(create(heart.conn, p_config=Jsonb({"healthCheckInterval": 10})))
    heart.hear(node, cpu_usage_percent=1)
    seen = []

    for cpu in (2, 3):
        move_clock(heart.conn, 10)
        heart.hear(node, -HOUR_S, cpu_usage_percent=cpu)
        heart.sweep(mass_outage_share=1)
        seen.append((heart.status(node), heart.row(node)["cpu_usage_percent"]))

    assert seen == [("online", 1), ("online", 3)]


def test_a_clock_that_jumps_ahead_and_is_put_right_is_followed_both_times(heart: Heart) -> None:
    node = heart.node()
    heart.hear(node)
    seen = []

    for ahead_s, status in ((HOUR_S, "error"), (0, "ok"), (0, "error")):
        move_clock(heart.conn, 200)
        heart.hear(node, ahead_s, status=status)
        seen.append(heart.status(node))

    assert seen == ["ERROR", "ACTIVE", "ERROR"]


def test_of_one_claim_with_a_clock_that_was_put_back_what_was_heard_last_counts(heart: Heart) -> None:
    node = heart.node()
    for minute in range(6):
        ahead_s = 0 if minute < 3 else -HOUR_S
        heart.send(heart.beat(node, ahead_s, status="ok" if minute < 5 else "error", pools=[pool("p", minute)]))
        move_clock(heart.conn, 160)

    heart.worker.run_once(1000)

    assert (heart.status(node), heart.pool("p")["current_instances"]) == ("ERROR", 5)
    assert heart.analytics("p") == [0, 1, 2, 3, 4, 5]


def test_an_old_heartbeat_that_comes_late_says_that_its_node_is_alive_and_nothing_else(heart: Heart) -> None:
    node = heart.node()
    heart.hear(node, pools=[pool("p", 2)])
    move_clock(heart.conn, 100)

    heart.hear(node, -110, status="error", pools=[pool("p", 1), pool("new", 7)])

    assert (heart.status(node), heart.pool("p")["current_instances"]) == ("ACTIVE", 2)
    assert heart.pool("new")["current_instances"] == 7
    assert alive_s(heart, node) < 5


def test_a_heartbeat_that_waited_in_the_queue_was_heard_when_it_was_enqueued(heart: Heart) -> None:
    node, in_cluster = heart.node(), heart.cluster_node()
    heart.send(heart.beat(node), heart.beat(in_cluster))
    move_clock(heart.conn, 1000)

    heart.worker.run_once(1000)

    assert alive_s(heart, node) >= 1000
    ago = "select extract(epoch from public.fleet_now() - last_heartbeat)::float8 from clusters.cluster_nodes"
    assert heart.one(f"{ago} where node_id = %s", (in_cluster,)) >= 1000
    assert (abs(skew_of(heart, node)) < 5, abs(skew_of(heart, in_cluster)) < 5) == (True, True)
    measured = heart.one("select max(timestamp) from clusters.cluster_metrics where node_id = %s", (in_cluster,))
    assert heart.one("select public.fleet_now() - %s > '999 seconds'", (measured,))


def test_a_heartbeat_that_was_put_back_was_heard_when_it_was_first_enqueued(heart: Heart) -> None:
    node = heart.node()
    body = heart.beat(node)
    heart.conn.execute("delete from autoscaler.nodes where id = %s", (node,))
    heart.tell(body)
    move_clock(heart.conn, 20)
    heart.conn.execute("insert into autoscaler.nodes (id, name, region) values (%s, 'n', 'eu')", (node,))

    heart.worker.run_once()

    assert heart.status(node) == "ACTIVE"
    assert alive_s(heart, node) >= 20
    assert abs(skew_of(heart, node)) < 5


def test_an_enqueue_in_the_future_keeps_no_node_alive(heart: Heart) -> None:
    node = heart.node()

    heart.heard(node, -HOUR_S)

    assert 0 <= alive_s(heart, node) < 5


def test_what_a_node_whose_clock_is_off_measured_was_measured_when_it_was_heard(heart: Heart) -> None:
    node = heart.node()

    heart.hear(node, HOUR_S, metrics={"x": 1}, pools=[pool("p")])
    heart.hear(node, -HOUR_S, metrics={"x": 1}, pools=[pool("p")])

    is_now = "abs(extract(epoch from timestamp at time zone 'UTC' - public.fleet_now())) < 5"
    for table in ("metrics", "pool_analytics", "node_heartbeats"):
        assert heart.all(f"select {is_now} from autoscaler.{table} where node_id = %s", (node,)) == [True, True], table


def test_the_skew_is_the_least_of_the_last_ten(heart: Heart) -> None:
    node, in_cluster = heart.node(), heart.cluster_node()
    delays_s = [40, 21, 30, 25, 50, 60, 45, 30, 28, 35, 33, 90]
    seen = []

    for delay_s in delays_s:
        move_clock(heart.conn, 100)
        heart.tell(heart.beat(node, -delay_s), heart.beat(in_cluster, -delay_s))
        seen.append((round(skew_of(heart, node)), round(skew_of(heart, in_cluster))))

    least = [min(delays_s[max(0, number - 9) : number + 1]) for number in range(len(delays_s))]
    assert seen == [(skew, skew) for skew in least]
    assert (least[0], least[10], least[11]) == (40, 21, 25)
    assert {len(heart.row(each)["skews"]) for each in (node, in_cluster)} == {10}


def test_of_a_claim_with_more_than_ten_the_last_ten_count(heart: Heart) -> None:
    node = heart.node()

    heart.tell(*(heart.beat(node, -seconds) for seconds in (1, *range(40, 28, -1))))

    assert [round(skew) for skew in heart.row(node)["skews"]] == [*range(29, 39)]


def warnings(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [line for line in capsys.readouterr().out.splitlines() if "node.clock_is_off" in line]


@pytest.mark.parametrize(
    ("ahead_s", "told"),
    [(-20, "20 seconds behind ours"), (-3 * HOUR_S, "3 hours behind ours"), (600, "10 minutes ahead of ours")],
)
def test_a_skew_is_told_once_by_the_log_and_by_the_doctor_as_long_as_it_is_so(
    heart: Heart, capsys: pytest.CaptureFixture[str], ahead_s: float, told: str
) -> None:
    node, in_cluster = heart.node("alone"), heart.cluster_node(name="together")
    heart.tell(heart.beat(node), heart.beat(in_cluster))
    quiet = warnings(capsys)

    for _ in range(12):
        move_clock(heart.conn, 1)
        heart.tell(heart.beat(node, ahead_s), heart.beat(in_cluster, ahead_s))
    lines = warnings(capsys)
    found = clocks(heart)
    for _ in range(12):
        move_clock(heart.conn, 1)
        heart.tell(heart.beat(node), heart.beat(in_cluster))

    assert quiet == []
    assert len(lines) == 2
    for each in (node, in_cluster):
        assert [told in line for line in lines if f"node={each} " in line] == [True]
    assert found[0] == "warning"
    assert (f"alone ({node}) is {told}" in found[1], f"together ({in_cluster}) is {told}" in found[1]) == (True, True)
    assert (clocks(heart)[0], warnings(capsys)) == ("ok", [])


def clocks(heart: Heart) -> tuple[str, str]:
    """What the doctor says of clocks."""
    (found,) = examine(heart.conn, checks=[check for check in CHECKS if check.name == "clocks"])
    return found.severity.value, found.text


@pytest.mark.parametrize(("ahead_s", "told"), [(-9.9, []), (-10, ["warning"]), (9.9, []), (10, ["warning"])])
def test_a_skew_is_told_from_ten_seconds_on(
    heart: Heart, capsys: pytest.CaptureFixture[str], ahead_s: float, told: list[str]
) -> None:
    node = heart.node()
    at = datetime.fromisoformat(heart.time())
    (msg_id,) = heart.send(heart.beat(node, sent_at=(at + timedelta(seconds=ahead_s)).isoformat()))
    heart.conn.execute("update pgmq.q_node_heartbeats set enqueued_at = %s where msg_id = %s", (at, msg_id))

    heart.worker.run_once()

    assert (len(warnings(capsys)), clocks(heart)[0]) == (len(told), (*told, "ok")[0])


def test_a_clock_is_not_off_because_nine_of_ten_heartbeats_came_late(
    heart: Heart, capsys: pytest.CaptureFixture[str]
) -> None:
    node = heart.node()

    heart.hear(node)
    for _ in range(9):
        move_clock(heart.conn, 60)
        heart.hear(node, -30)

    assert (warnings(capsys), clocks(heart)[0]) == ([], "ok")


def test_clocks_a_thousand_years_off_are_told_too(heart: Heart) -> None:
    past, future = heart.node("past"), heart.node("future")

    heart.hear(past, sent_at="0001-01-01T00:00:00Z")
    heart.hear(future, sent_at="9999-12-31T23:59:59Z")

    assert (heart.status(past), heart.status(future), heart.letters()) == ("ACTIVE", "ACTIVE", [])
    assert "days behind ours" in clocks(heart)[1]
    assert "days ahead of ours" in clocks(heart)[1]


def test_what_an_older_worker_takes_is_heard_when_it_is_taken_and_tells_nothing(heart: Heart) -> None:
    node = heart.node()

    said = heart.all("select verdict from autoscaler.take_heartbeats(%s)", (Jsonb([heart.beat(node, -HOUR_S)]),))

    assert (said, heart.status(node), alive_s(heart, node) < 5) == ([], "ACTIVE", True)
