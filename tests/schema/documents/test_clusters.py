"""What people and services call about clusters (document 004): what it makes, what it measures, what it refuses."""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from worlds.clusters import add, cluster_row, create, events, online, update, value
from worlds.database import Connection, fresh_database

CLUSTER_ID = r"cluster-[a-z0-9]{8}-\d{4}-\d\d-\d\d-\d\d-\d\d-\d\d-[a-z0-9]{8}"
NODE_ID = r"node-([a-z0-9]{8}-\d{4}-\d\d-\d\d)-(\d+)-[a-z0-9]{8}"


@pytest.fixture(scope="module")
def clusters_dsn(server_dsn: str, template: str) -> Iterator[str]:
    with fresh_database(server_dsn, template) as dsn:
        yield dsn


@pytest.fixture
def db(clusters_dsn: str) -> Iterator[Connection]:
    """One database for all: each test has clusters of its own."""
    with psycopg.connect(clusters_dsn, autocommit=True) as conn:
        yield conn


def test_cluster_ids_have_the_documents_form_and_are_never_alike(db: Connection) -> None:
    ids = [create(db) for _ in range(50)]

    assert [cluster for cluster in ids if not re.fullmatch(CLUSTER_ID, cluster)] == []
    assert len(set(ids)) == 50


def test_node_ids_carry_their_clusters_name_and_a_number_in_sequence(db: Connection) -> None:
    cluster = create(db)

    matches = [re.fullmatch(NODE_ID, add(db, cluster)) for _ in range(3)]

    assert [match and match.group(2) for match in matches] == ["1", "2", "3"]
    assert {match and match.group(1) for match in matches} == {cluster.removeprefix("cluster-")[:19]}


def test_a_number_is_not_given_twice(db: Connection) -> None:
    cluster = create(db)
    first = add(db, cluster)
    update(db, first, "decommissioning")

    assert re.search(r"-2-[a-z0-9]{8}$", add(db, cluster))


@pytest.mark.parametrize(
    ("environment", "limits"),
    [("development", (3, 10, 100)), ("staging", (5, 50, 500)), ("production", (20, 1000, 10000))],
)
def test_a_template_gives_the_limits(db: Connection, environment: str, limits: tuple[int, int, int]) -> None:
    row = cluster_row(db, create(db, p_template=environment))

    assert (row["max_nodes"], row["max_tenants"], row["max_storage_gb"]) == limits
    assert row["config"] == {"environment": environment, "healthCheckInterval": 30}
    assert (row["status"], row["health_score"], row["epoch"]) == ("initializing", 0, 0)


def test_what_is_given_comes_before_the_template(db: Connection) -> None:
    row = cluster_row(db, create(db, p_max_nodes=7, p_config='{"healthCheckInterval": 5, "a": 1}'))

    assert (row["max_nodes"], row["max_tenants"]) == (7, 10)
    assert row["config"] == {"environment": "development", "healthCheckInterval": 5, "a": 1}


def test_of_twenty_who_add_a_node_at_once_five_find_room(db: Connection, clusters_dsn: str) -> None:
    cluster = create(db, p_max_nodes=5)

    def one_more(_: int) -> str | None:
        with psycopg.connect(clusters_dsn, autocommit=True) as conn:
            try:
                add(conn, cluster)
            except psycopg.Error as error:
                return error.sqlstate
        return "added"

    with ThreadPoolExecutor(20) as threads:
        answers = list(threads.map(one_more, range(20)))

    assert sorted(map(str, answers)) == ["PF007"] * 15 + ["added"] * 5
    numbers = db.execute("select node_number from clusters.cluster_nodes where cluster_id = %s", (cluster,)).fetchall()
    assert sorted(number for (number,) in numbers) == [1, 2, 3, 4, 5]


def test_a_node_that_leaves_makes_room(db: Connection) -> None:
    cluster = create(db, p_max_nodes=1)
    node = add(db, cluster)

    update(db, node, "decommissioning")

    assert add(db, cluster)


@pytest.mark.parametrize(
    ("cpu", "memory", "disk", "health"),
    [
        (None, None, None, "unknown"),
        (0, 0, 0, "healthy"),
        (69.9, 79.9, 79.9, "healthy"),
        (70, 0, 0, "warning"),
        (89.9, 0, 0, "warning"),
        (90, 0, 0, "critical"),
        (0, 80, 0, "warning"),
        (0, 89.9, 0, "warning"),
        (0, 90, 0, "critical"),
        (0, 0, 80, "warning"),
        (0, 0, 94.9, "warning"),
        (0, 0, 95, "critical"),
        (70, 80, 95, "critical"),
        (None, None, 80, "warning"),
        (50, None, None, "healthy"),
    ],
)
def test_the_worst_measurement_decides_about_a_node(
    db: Connection, cpu: Any, memory: Any, disk: Any, health: str
) -> None:
    node = add(db, create(db))

    row = update(db, node, "online", cpu_usage_percent=cpu, memory_usage_percent=memory, disk_usage_percent=disk)

    assert row["health_status"] == health


def test_what_is_not_said_stays_and_what_has_no_column_is_kept(db: Connection) -> None:
    node = add(db, create(db))
    update(db, node, "online", cpu_usage_percent=75, network_mbps=12)

    row = update(db, node, load_average=3.5)

    assert (row["status"], row["health_status"]) == ("online", "warning")
    assert (row["cpu_usage_percent"], row["load_average"], row["metrics"]) == (75, 3.5, {"network_mbps": 12})


@pytest.mark.parametrize(
    ("nodes", "score", "status"),
    [
        ([], 0, "initializing"),
        (["healthy"] * 3, 1, "active"),
        (["healthy"] * 9 + ["warning"], 0.89, "degraded"),
        (["healthy"] * 3 + ["warning"], 0.725, "degraded"),
        (["healthy"] * 2 + ["critical"], 1.7 / 3, "maintenance"),
        (["healthy", "offline"], 0.25, "offline"),
        (["healthy", "unknown"], 0.5, "maintenance"),
        (["healthy", "provisioning"], 0.5, "maintenance"),
        (["healthy", "error"], 0.5, "maintenance"),
        (["healthy", "decommissioning"], 1, "active"),
        (["critical", "critical"], 0, "offline"),
    ],
)
def test_the_score_is_the_documents_formula(db: Connection, nodes: list[str], score: float, status: str) -> None:
    cluster = create(db, p_max_nodes=20)
    for kind in nodes:
        node = add(db, cluster)
        if kind in ("healthy", "warning", "critical", "unknown"):
            update(db, node, "online", kind)
        elif kind != "provisioning":
            update(db, node, "online", "healthy")
            update(db, node, kind)

    row = cluster_row(db, cluster)

    assert row["health_score"] == pytest.approx(score)
    assert row["status"] == status


@pytest.mark.parametrize("word", ["initializing", "maintenance"])
def test_what_an_operator_set_is_not_overridden_by_health(db: Connection, word: str) -> None:
    cluster = create(db)
    if word == "maintenance":
        db.execute("update clusters.clusters set status = %s where cluster_id = %s", (word, cluster))
    else:
        db.execute("update clusters.clusters set operator_status = true where cluster_id = %s", (cluster,))

    online(db, cluster)

    assert (cluster_row(db, cluster)["status"], cluster_row(db, cluster)["health_score"]) == (word, 1)


def test_what_an_operator_calls_active_is_given_back_to_health(db: Connection) -> None:
    cluster = create(db)
    node = online(db, cluster)
    db.execute("update clusters.clusters set status = 'maintenance' where cluster_id = %s", (cluster,))
    db.execute("update clusters.clusters set status = 'active' where cluster_id = %s", (cluster,))

    update(db, node, "offline")

    assert cluster_row(db, cluster)["status"] == "offline"


def test_maintenance_by_health_can_be_made_an_operators(db: Connection) -> None:
    cluster = create(db)
    node = online(db, cluster, "unknown")
    online(db, cluster)
    assert cluster_row(db, cluster)["status"] == "maintenance"

    db.execute("update clusters.clusters set status = 'maintenance' where cluster_id = %s", (cluster,))
    update(db, node, "online", "healthy")

    assert cluster_row(db, cluster)["status"] == "maintenance"


def test_high_use_is_followed_by_advice(db: Connection) -> None:
    cluster = create(db)
    update(db, add(db, cluster, "fine"), "online", cpu_usage_percent=80, memory_usage_percent=85, disk_usage_percent=90)
    update(db, add(db, cluster, "hot"), "online", cpu_usage_percent=81, memory_usage_percent=86, disk_usage_percent=91)

    advice = value(db, "select clusters.get_cluster_info(%s)", (cluster,))["recommendations"]

    assert len(advice) == 3
    assert all(sentence.startswith("hot: ") for sentence in advice)


def test_a_cluster_is_decommissioned_only_when_it_is_empty_or_by_force(db: Connection) -> None:
    with_node, with_tenants, empty = create(db), create(db), create(db)
    node = online(db, with_node)
    db.execute("update clusters.clusters set current_tenants = 1 where cluster_id = %s", (with_tenants,))
    decommission = "select clusters.decommission_cluster(%s, %s)"

    for cluster in (with_node, with_tenants):
        with pytest.raises(psycopg.Error, match="still has") as refused:
            db.execute(decommission, (cluster, False))
        assert refused.value.sqlstate == "PF006"
    answers = [value(db, decommission, (empty, False)), value(db, decommission, (with_node, True))]

    assert [(answer["status"], answer["nodes"]) for answer in answers] == [
        ("decommissioning", 0),
        ("decommissioning", 1),
    ]
    assert cluster_row(db, with_node)["decommissioned_at"] is not None
    assert cluster_row(db, with_node)["primary_node_id"] is None
    with pytest.raises(psycopg.Error, match="may not move") as late:
        update(db, node, "online")
    assert late.value.sqlstate == "PF002"
    with pytest.raises(psycopg.Error, match="is being decommissioned"):
        add(db, with_node)


def test_a_cluster_that_is_gone_is_in_no_summary_of_all(db: Connection) -> None:
    cluster = create(db)
    db.execute("select clusters.decommission_cluster(%s)", (cluster,))

    summary = value(db, "select clusters.get_cluster_health_summary()")

    assert cluster not in {found["cluster_id"] for found in summary["clusters"]}
    assert value(db, "select clusters.get_cluster_health_summary(%s)", (cluster,))["total_clusters"] == 1


def test_metrics_are_recorded_for_a_cluster_or_its_node(db: Connection) -> None:
    cluster = create(db)
    node = add(db, cluster)
    record = "select clusters.record_cluster_metrics(%s, %s, %s)"

    ids = [value(db, record, (cluster, None, '{"a": 1}')), value(db, record, (cluster, node, '{"b": 2}'))]

    query = "select metric_id, node_id, metrics from clusters.cluster_metrics where cluster_id = %s order by 1"
    assert db.execute(query, (cluster,)).fetchall() == [(ids[0], None, {"a": 1}), (ids[1], node, {"b": 2})]


def test_every_call_leaves_an_event_and_one_that_changes_nothing_leaves_it_out_of_the_way(db: Connection) -> None:
    cluster = create(db)
    node = online(db, cluster)
    db.execute("select clusters.promote_to_primary(%s)", (node,))
    db.execute("select clusters.record_cluster_metrics(%s)", (cluster,))
    db.execute("select clusters.get_cluster_info(%s)", (cluster,))
    db.execute("select clusters.get_cluster_health_summary(%s)", (cluster,))
    db.execute("select clusters.decommission_cluster(%s, true)", (cluster,))

    shown = db.execute("select event_type, severity from clusters.get_cluster_events(%s)", (cluster,)).fetchall()

    called = {"CLUSTER_CREATED", "NODE_ADDED", "NODE_UPDATED", "PROMOTED", "CLUSTER_DECOMMISSIONED"}
    assert called <= {event for event, _ in shown}
    assert "debug" not in {severity for _, severity in shown}
    quiet = [event for event, severity, _, _ in events(db, cluster) if severity == "debug"]
    assert quiet == ["METRICS_RECORDED", *["READ"] * 3]


def test_events_are_filtered_by_severity_newest_first_up_to_a_limit(db: Connection) -> None:
    cluster = create(db)
    node = online(db, cluster)
    for _ in range(3):
        update(db, node, "online", "critical")
        update(db, node, "online", "healthy")

    listed = "select event_id, severity from clusters.get_cluster_events(%s, %s, %s)"
    found = db.execute(listed, (cluster, "error", 2)).fetchall()

    assert [severity for _, severity in found] == ["error", "error"]
    assert found[0][0] > found[1][0]
    assert len(db.execute(listed, (cluster, "debug", None)).fetchall()) == 2
