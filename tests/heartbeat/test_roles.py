"""The heartbeat worker with nothing but the rights of its role, where row level security is on."""

from collections.abc import Iterator
from dataclasses import replace

import psycopg
import pytest

from pgfleet.workers.heartbeat.machine import KIND
from worlds.clusters import cluster_row, create
from worlds.database import fresh_database
from worlds.fleet import move_clock, settings_for, worker_on
from worlds.heartbeats import Heart, heart_in, pool
from worlds.strangers import stranger_dsn


@pytest.fixture(scope="module")
def module_heart(server_dsn: str, template: str) -> Iterator[Heart]:
    """The owner's connection, and a worker that is only a member of pgfleet_worker_heartbeat."""
    with fresh_database(server_dsn, template) as dsn, heart_in(dsn) as owner:
        owner.conn.execute("select public.switch_row_level_security(true)")
        with (
            stranger_dsn(dsn, role="pgfleet_worker_heartbeat", queues=()) as own,
            worker_on(KIND, settings_for(own)) as worker,
        ):
            yield replace(owner, worker=worker)


def test_a_member_of_the_kinds_role_takes_heartbeats_sweeps_and_rolls_up(heart: Heart) -> None:
    silent, node = heart.node(), heart.node()
    columns = "(node_id, yaml_config, config_hash)"
    heart.conn.execute(f"insert into autoscaler.node_configurations {columns} values (%s, 'is: new', 'new')", (node,))
    heart.hear(silent)
    move_clock(heart.conn, 301)

    heart.hear(node, config_hash="old", reply_to="answer me", pools=[pool("p")], metrics={"x": 1})
    heart.hear(node, status="error", pools=[pool("p", 3)])
    heart.sweep()
    heart.hear(2_000_000_000)
    heart.tell(None)
    heart.roll_up()

    assert (heart.status(silent), heart.status(node)) == ("OFFLINE", "ERROR")
    assert heart.analytics("p") == [2, 3]
    assert len(heart.all(f"select message from pgmq.q_node_replies_{node}")) == 1
    assert heart.all("select total_current_instances from autoscaler.system_analytics") == [3]
    assert heart.letters() == ["the body is NULL, not an object"]
    assert len(heart.queue()) == 1  # the node that nobody knows, yet


def test_a_member_of_the_kinds_role_replaces_the_leaders_of_a_cluster(heart: Heart) -> None:
    cluster = create(heart.conn)
    nodes = [heart.cluster_node(cluster) for _ in range(3)]
    heart.tell(*(heart.beat(node, cpu_usage_percent=5) for node in nodes))
    first = cluster_row(heart.conn, cluster)
    move_clock(heart.conn, 400)
    heart.tell(*(heart.beat(node) for node in nodes if node != first["primary_node_id"]))

    heart.sweep()

    after = cluster_row(heart.conn, cluster)
    assert heart.status(first["primary_node_id"]) == "offline"
    assert after["primary_node_id"] != first["primary_node_id"]
    assert after["epoch"] == first["epoch"] + 1
    assert (heart.letters(), heart.queue()) == ([], [])


@pytest.mark.parametrize("group", ["pgfleet_user", "pgfleet_api", "pgfleet_monitor"])
def test_nobody_but_a_worker_answers_nodes(heart: Heart, group: str) -> None:
    with stranger_dsn(heart.dsn, role=group, queues=()) as own, psycopg.connect(own, autocommit=True) as conn:
        forged = """select autoscaler.answer_node(1, '{"new_config": "mine"}')"""
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            conn.execute(forged)
