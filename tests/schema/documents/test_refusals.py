"""What the functions of document 004 refuse, and in which words."""

from collections.abc import Iterator

import psycopg
import pytest

from worlds.clusters import add, create
from worlds.database import Connection, fresh_database

NOT_A_CLUSTER = "cluster-aaaaaaaa-2026-01-21-12-00-00-aaaaaaaa"


@pytest.fixture(scope="module")
def clusters_dsn(server_dsn: str, template: str) -> Iterator[str]:
    with fresh_database(server_dsn, template) as dsn:
        yield dsn


@pytest.fixture
def db(clusters_dsn: str) -> Iterator[Connection]:
    """One database for all: each test has clusters of its own."""
    with psycopg.connect(clusters_dsn, autocommit=True) as conn:
        yield conn


@pytest.mark.parametrize(
    ("call", "sqlstate", "said"),
    [
        ("update_node_status(%(node)s, 'ONLINE')", "PF004", "a cluster node's status can't be ONLINE, only one of"),
        ("update_node_status(%(node)s, null, 'fine')", "PF004", "health_status can't be fine, only one of"),
        ("update_node_status(%(node)s, p_metrics := '[]')", "PF004", "p_metrics can't be array"),
        ("update_node_status(%(node)s, p_metrics := '{\"cpu_usage_percent\": 101}')", "PF004", "between 0 and 100"),
        ('update_node_status(%(node)s, p_metrics := \'{"disk_usage_percent": "x"}\')', "PF004", "can't be x, only"),
        ("update_node_status(null, 'online')", "PF008", "no cluster node null"),
        ("promote_to_primary('node-x')", "PF008", "no cluster node node-x"),
        ("promote_to_primary(null)", "PF008", "no cluster node null"),
        ("create_cluster('')", "PF004", "a cluster's name can't be"),
        ("create_cluster('x', p_template := 'huge')", "PF008", "no template huge"),
        ("create_cluster('x', p_max_nodes := 0)", "PF004", "max_nodes can't be 0, only at least 1"),
        ("create_cluster('x', p_max_tenants := -1)", "PF004", "max_tenants can't be -1"),
        ("create_cluster('x', p_config := '[]')", "PF004", "config can't be array"),
        ("create_cluster('x', p_config := '\"x\"')", "PF004", "config can't be"),
        ("create_cluster('x', p_config := '{\"healthCheckInterval\": \"x\"}')", "PF004", "1 to 86400 seconds"),
        ("create_cluster('x', p_config := '{\"healthCheckInterval\": 0}')", "PF004", "1 to 86400 seconds"),
        ("create_cluster('x', p_config := '{\"healthCheckInterval\": null}')", "PF004", "1 to 86400 seconds"),
        ("add_cluster_node(%(cluster)s, '')", "PF004", "a node's name can't be"),
        ("add_cluster_node(%(cluster)s, 'x', p_capacity_cpu := 0)", "PF004", "capacity_cpu can't be 0"),
        (f"add_cluster_node('{NOT_A_CLUSTER}', 'x')", "PF008", "no cluster cluster-aaaaaaaa"),
        ("add_cluster_node(null, 'x')", "PF008", "no cluster null"),
        ("get_cluster_info(null)", "PF008", "no cluster null"),
        ("get_cluster_info('x')", "PF008", "no cluster x"),
        ("get_cluster_health_summary('x')", "PF008", "no cluster x"),
        ("get_cluster_events('x')", "PF008", "no cluster x"),
        ("decommission_cluster(null)", "PF008", "no cluster null"),
        ("record_cluster_metrics(%(cluster)s, p_metrics := '3')", "PF004", "metrics can't be number"),
        ("record_cluster_metrics(%(other)s, %(node)s)", "PF008", "is not of cluster"),
        ("get_cluster_events(%(cluster)s, 'loud')", "PF004", "p_severity can't be loud"),
        ("get_cluster_events(%(cluster)s, p_limit := -1)", "PF004", "p_limit can't be -1"),
    ],
)
def test_nonsense_is_refused_in_words(db: Connection, call: str, sqlstate: str, said: str) -> None:
    cluster, other = create(db), create(db)
    node = add(db, cluster)

    with pytest.raises(psycopg.Error, match=said) as refused:
        db.execute(f"select clusters.{call}".encode(), {"node": node, "cluster": cluster, "other": other})

    assert refused.value.sqlstate == sqlstate


def test_a_score_past_one_is_refused(db: Connection) -> None:
    with pytest.raises(psycopg.Error, match=r"health_score can't be 1\.5, only between 0 and 1") as refused:
        db.execute("update clusters.clusters set health_score = 1.5 where cluster_id = %s", (create(db),))

    assert refused.value.sqlstate == "PF004"
