"""Heartbeats of cluster nodes: health, silence, and leaders that are replaced under the next epoch."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from worlds.clusters import cluster_row, create, events, promote, update
from worlds.database import Connection
from worlds.fleet import PATIENCE_S, move_clock, until
from worlds.heartbeats import OF_ITS_CLOCK, Heart, without


def cluster_of(heart: Heart, number: int, **given: Any) -> tuple[str, list[str]]:
    """A cluster whose nodes are online and healthy; the first leads, the second coordinates."""
    cluster = create(heart.conn, **{"p_max_nodes": 50, **given})
    nodes = [heart.cluster_node(cluster) for _ in range(number)]
    for node in nodes:
        heart.hear(node, cpu_usage_percent=1)
    return cluster, nodes


def leaders(heart: Heart, cluster: str) -> tuple[Any, Any, Any]:
    row = cluster_row(heart.conn, cluster)
    return row["primary_node_id"], row["coordinator_node_id"], row["epoch"]


def hear_all(heart: Heart, nodes: list[str], **given: Any) -> None:
    heart.tell(*(heart.beat(node, cpu_usage_percent=1, **given) for node in nodes))


HEALTH = [
    ({}, "unknown"),
    ({"cpu_usage_percent": 69.9, "memory_usage_percent": 79.9, "disk_usage_percent": 79.9}, "healthy"),
    ({"cpu_usage_percent": 70}, "warning"),
    ({"memory_usage_percent": 80}, "warning"),
    ({"disk_usage_percent": 80}, "warning"),
    ({"cpu_usage_percent": 89.9, "disk_usage_percent": 94.9}, "warning"),
    ({"cpu_usage_percent": 90}, "critical"),
    ({"memory_usage_percent": 90}, "critical"),
    ({"disk_usage_percent": 95}, "critical"),
    ({"cpu_usage_percent": 75, "memory_usage_percent": 10, "disk_usage_percent": 100}, "critical"),
]


@pytest.mark.parametrize(("given", "health"), HEALTH)
def test_the_worst_measure_is_the_nodes_health(heart: Heart, given: dict[str, float], health: str) -> None:
    node = heart.cluster_node()

    heart.hear(node, **given)

    row = heart.row(node)
    assert (row["status"], row["health_status"]) == ("online", health)
    assert {name: row[name] for name in given} == given


def test_network_figures_and_metrics_are_kept_together(heart: Heart) -> None:
    node = heart.cluster_node()

    heart.hear(node, network_in_mbps=1.5, network_errors=0, load_average=0.5, metrics={"fans": 3}, x_colour="red")

    row = heart.row(node)
    assert row["metrics"] == {"network_in_mbps": 1.5, "network_errors": 0, "fans": 3}
    assert row["load_average"] == 0.5
    measured = heart.one("select metrics from clusters.cluster_metrics where node_id = %s", (node,))
    assert measured == {"network_in_mbps": 1.5, "network_errors": 0, "fans": 3, "load_average": 0.5}


def test_the_nodes_machine_follows_its_heartbeats(heart: Heart) -> None:
    node = heart.cluster_node()

    for status, ahead_s in (("ok", -50), ("error", -40), ("error", -30), ("ok", -20), ("ok", -60)):
        heart.hear(node, ahead_s, status=status)

    moves = [("provisioning", "online"), ("online", "error"), ("error", "online")]
    assert [(before, to) for before, to, _ in heart.history(node)] == moves
    cluster = heart.row(node)["cluster_id"]
    assert len(events(heart.conn, cluster, "NODE_STATUS_CHANGED")) == 3


def test_a_late_heartbeat_changes_no_cluster_node(heart: Heart) -> None:
    node = heart.cluster_node()
    heart.hear(node, cpu_usage_percent=10)
    before = heart.row(node)

    heart.hear(node, -60, cpu_usage_percent=99, status="error")

    after = heart.row(node)
    assert without(after, OF_ITS_CLOCK) == without(before, OF_ITS_CLOCK)
    assert after["last_heartbeat"] > before["last_heartbeat"]


def test_score_and_status_follow_the_nodes(heart: Heart) -> None:
    cluster, nodes = cluster_of(heart, 4)
    seen = []
    for node, given in ((nodes[0], {"cpu_usage_percent": 75}), (nodes[1], {"disk_usage_percent": 99})):
        row = cluster_row(heart.conn, cluster)
        seen.append((row["status"], row["health_score"]))
        heart.hear(node, **given)
    heart.hear(nodes[2], status="failed")

    row = cluster_row(heart.conn, cluster)
    assert seen == [("active", 1.0), ("degraded", pytest.approx(2.9 / 4))]
    assert (row["status"], row["health_score"]) == ("offline", pytest.approx(0.6 / 4))
    changed = [details["to"] for _, _, _, details in events(heart.conn, cluster, "CLUSTER_STATUS_CHANGED")]
    assert changed[-4:] == ["active", "degraded", "maintenance", "offline"]


@pytest.mark.parametrize(("interval", "silent_s"), [(None, 90), (5, 15), (60, 180)])
def test_silence_of_three_intervals_is_offline(heart: Heart, interval: int | None, silent_s: int) -> None:
    config = Jsonb({} if interval is None else {"healthCheckInterval": interval})
    _, (silent, *others) = cluster_of(heart, 3, p_config=config)
    move_clock(heart.conn, silent_s - 5)
    hear_all(heart, others)
    heart.sweep()
    before = heart.status(silent)

    move_clock(heart.conn, 6)
    heart.sweep()

    assert (before, heart.status(silent)) == ("online", "offline")
    in_words = {15: "15 seconds", 90: "90 seconds", 180: "3 minutes"}[silent_s]
    assert heart.history(silent)[-1] == ("online", "offline", f"Heartbeat timeout after {in_words}")
    assert [heart.status(node) for node in others] == ["online", "online"]


def test_silent_leaders_are_replaced_under_the_next_epoch_and_come_back_as_ordinary_nodes(heart: Heart) -> None:
    cluster, nodes = cluster_of(heart, 5)
    primary, coordinator, epoch = leaders(heart, cluster)
    move_clock(heart.conn, 91)
    hear_all(heart, nodes[2:])

    heart.sweep()
    after = leaders(heart, cluster)
    hear_all(heart, nodes)

    assert {primary, coordinator} == set(nodes[:2])
    assert after[2] == epoch + 1
    assert {*after[:2]} <= set(nodes[2:])
    assert after[0] != after[1]
    assert leaders(heart, cluster) == after
    (_, _, node, details) = events(heart.conn, cluster, "PRIMARY_CHANGED")[-1]
    assert (node, details) == (after[0], {"previous": primary, "epoch": epoch + 1})
    assert events(heart.conn, cluster, "COORDINATOR_CHANGED")[-1][2] == after[1]
    with pytest.raises(psycopg.Error, match="epoch"):
        promote(heart.conn, primary, epoch)


@pytest.mark.parametrize("given", [{"status": "error"}, {"cpu_usage_percent": 95}])
def test_a_primary_that_tells_of_trouble_is_replaced_at_once(heart: Heart, given: dict[str, Any]) -> None:
    cluster, nodes = cluster_of(heart, 2)
    primary, _, epoch = leaders(heart, cluster)

    heart.hear(primary, **given)

    assert leaders(heart, cluster) == (nodes[1], nodes[1], epoch + 1)


def test_most_cluster_nodes_do_not_go_at_once(heart: Heart) -> None:
    cluster, nodes = cluster_of(heart, 3)
    before = leaders(heart, cluster)
    move_clock(heart.conn, 91)
    hear_all(heart, nodes[2:])

    heart.sweep()

    assert heart.swept("cluster_node").held_back == (
        "2 of 3 would go offline at once, more than PGFLEET_MASS_OUTAGE_SHARE (0.55)"
        "; each is believed gone after 270 seconds of silence, or by `pgfleet clusters believe`"
    )
    assert leaders(heart, cluster) == before
    assert {heart.status(node) for node in nodes} == {"online"}


def test_after_our_absence_each_node_has_its_own_time(heart: Heart) -> None:
    patient, quick = (
        heart.cluster_node(create(heart.conn, p_config=Jsonb({"healthCheckInterval": interval})))
        for interval in (60, 1)
    )
    heart.hear(patient)
    heart.hear(quick)
    heart.sweep()
    move_clock(heart.conn, 600)

    heart.sweep_again()
    for _ in range(2):
        move_clock(heart.conn, 15)
        heart.sweep_again()

    assert (heart.status(quick), heart.status(patient)) == ("offline", "online")


def test_an_operators_maintenance_of_a_node_is_not_overridden(heart: Heart) -> None:
    cluster, (primary, other, *_) = cluster_of(heart, 3)
    update(heart.conn, primary, "maintenance")

    heart.hear(primary, cpu_usage_percent=5)
    heart.hear(primary, status="error")
    move_clock(heart.conn, 91)
    hear_all(heart, [other])
    heart.sweep(mass_outage_share=1)

    assert (heart.status(primary), leaders(heart, cluster)[0]) == ("maintenance", other)


def test_maintenance_that_is_set_while_a_heartbeat_is_taken_stays(heart: Heart) -> None:
    _, (node,) = cluster_of(heart, 1)
    heart.send(heart.beat(node, cpu_usage_percent=5))
    with heart.other() as operator, ThreadPoolExecutor(1) as threads:
        operator.execute("update clusters.cluster_nodes set status = 'maintenance' where node_id = %s", (node,))
        running = threads.submit(heart.worker.run_once)
        until_blocked(heart.conn)
        operator.commit()
        running.result(PATIENCE_S)

    assert heart.status(node) == "maintenance"


def until_blocked(conn: Connection) -> None:
    waits = "select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
    until(lambda: conn.execute(waits).fetchone(), within_s=10, what="a session that waits for a lock")


def test_an_operators_maintenance_of_a_cluster_is_not_overridden(heart: Heart) -> None:
    cluster, nodes = cluster_of(heart, 2)
    heart.conn.execute("update clusters.clusters set status = 'maintenance' where cluster_id = %s", (cluster,))

    heart.hear(nodes[0], status="error")
    kept = cluster_row(heart.conn, cluster)["status"]
    heart.conn.execute("update clusters.clusters set status = 'active' where cluster_id = %s", (cluster,))
    heart.hear(nodes[0], status="ok", cpu_usage_percent=75)

    row = cluster_row(heart.conn, cluster)
    assert (kept, row["operator_status"], row["status"]) == ("maintenance", False, "maintenance")


def test_a_node_of_a_decommissioned_cluster_is_ignored(heart: Heart) -> None:
    cluster, nodes = cluster_of(heart, 2)
    heart.one("select clusters.decommission_cluster(%s, true)", (cluster,))
    before = [heart.row(node) for node in nodes]

    hear_all(heart, nodes, status="error")

    assert [heart.row(node) for node in nodes] == before
    assert (heart.queue(), heart.letters()) == ([], [])


def test_what_somebody_changed_by_hand_is_noticed_by_the_sweep(heart: Heart) -> None:
    cluster, nodes = cluster_of(heart, 3)
    primary, _, epoch = leaders(heart, cluster)
    heart.conn.execute("update clusters.cluster_nodes set status = 'offline' where node_id = %s", (primary,))

    heart.sweep()

    row = cluster_row(heart.conn, cluster)
    assert row["primary_node_id"] in set(nodes) - {primary}
    assert (row["epoch"], row["health_score"]) == (epoch + 1, pytest.approx(1.5 / 3))
