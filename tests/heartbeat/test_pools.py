"""Pools that heartbeats tell of, and the answers to nodes that run another configuration than they should."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from psycopg.types.json import Jsonb

from pgfleet.workers.heartbeat.machine import KIND
from pgfleet.workers.runtime.work import work
from worlds.database import fresh_database
from worlds.fleet import settings_for, worker_on
from worlds.heartbeats import Heart, heart_in, pool


@pytest.fixture(scope="module")
def module_heart(server_dsn: str, template: str) -> Iterator[Heart]:
    """One database for all."""
    with fresh_database(server_dsn, template) as dsn, heart_in(dsn) as running:
        yield running


@pytest.fixture
def heart(module_heart: Heart) -> Heart:
    return module_heart.clean()


def test_a_pool_is_as_last_reported_and_every_report_is_kept(heart: Heart) -> None:
    node = heart.node(region="eu-1")
    heart.hear(node, -60, pools=[pool("p", 2)])

    heart.hear(node, pools=[pool("p", 5, pool_status="warning", is_active=False, max_cpu_utilization=99)])

    row = heart.pool("p")
    told = ("node_id", "name", "region", "current_instances", "status", "is_active", "max_cpu_utilization")
    assert [row[name] for name in told] == [node, "p", "eu-1", 5, "warning", False, 99]
    assert heart.analytics("p") == [2, 5]


def test_a_pool_of_another_node_is_refused_and_the_rest_kept(heart: Heart) -> None:
    owner, thief = heart.node(), heart.node()
    heart.hear(owner, -60, pools=[pool("hers", 2)])
    before = heart.pool("hers")

    heart.hear(thief, pools=[pool("hers", 9), pool("his", 3)])

    assert heart.pool("hers") == before
    assert heart.analytics("hers") == [2]
    assert (heart.pool("his")["node_id"], heart.status(thief), heart.letters()) == (thief, "ACTIVE", [])


def test_of_two_that_claim_a_new_pool_in_one_batch_one_gets_it_and_the_other_is_told(
    heart: Heart, capsys: pytest.CaptureFixture[str]
) -> None:
    nodes = [heart.node() for _ in range(2)]

    heart.tell(*(heart.beat(node, pools=[pool("new", node), pool(f"own-{node}")]) for node in nodes))

    owner = heart.pool("new")["node_id"]
    (other,) = set(nodes) - {owner}
    assert heart.analytics("new") == [owner]
    assert {heart.pool(f"own-{node}")["node_id"] for node in nodes} == set(nodes)
    (note,) = [line for line in capsys.readouterr().out.splitlines() if "message.note" in line]
    assert f"pool new belongs to node {owner}" in note
    assert f"row={other}" in note


def test_of_two_workers_that_claim_a_new_pool_at_once_one_gets_it(heart: Heart) -> None:
    nodes = [heart.node() for _ in range(20)]
    half = [[heart.beat(n, pools=[pool(f"new-{i}", n) for i in range(10)]) for n in nodes[part::2]] for part in (0, 1)]
    heart.send(*half[0])
    first = heart.worker.claim(100)
    heart.send(*half[1])
    with worker_on(KIND, settings_for(heart.dsn)) as other, ThreadPoolExecutor(2) as threads:
        second = other.claim(100)

        list(threads.map(work, [heart.worker.running, other.running], [first, second]))

    assert (heart.queue(), heart.letters()) == ([], [])
    assert {heart.status(node) for node in nodes} == {"ACTIVE"}
    for number in range(10):
        assert heart.analytics(f"new-{number}") == [heart.pool(f"new-{number}")["node_id"]]


@pytest.fixture
def replies(heart: Heart) -> Iterator[str]:
    queue = "node_replies_a"
    heart.one("select public.create_queue(%s)::text", (queue,))
    yield queue
    heart.one("select pgmq.drop_queue(%s)", (queue,))


def answers(heart: Heart, queue: str) -> list[Any]:
    return heart.all(f"select message from pgmq.q_{queue} order by msg_id")


def configure(heart: Heart, node: int, config_hash: str) -> None:
    columns = "(node_id, yaml_config, config_hash)"
    values = (node, f"is: {config_hash}", config_hash)
    heart.conn.execute(f"insert into autoscaler.node_configurations {columns} values (%s, %s, %s)", values)


def test_drift_is_answered_once_while_it_is_unread_and_again_when_it_was_read(heart: Heart, replies: str) -> None:
    node = heart.node()
    configure(heart, node, "h1")
    configure(heart, node, "h2")
    body = {"config_hash": "h1", "reply_to": replies}

    heart.tell(heart.beat(node, -1, **body), heart.beat(node, **body))
    heart.hear(node, **body)
    once = answers(heart, replies)
    heart.one("select pgmq.purge_queue(%s)", (replies,))
    heart.hear(node, **body)

    answer = {"node_id": node, "config_update_needed": True, "current_config_hash": "h2", "new_config": "is: h2"}
    assert (once, answers(heart, replies)) == ([answer], [answer])
    assert heart.row(node)["config_hash"] == "h1"


def test_a_node_that_runs_what_it_should_or_has_no_configuration_is_not_answered(heart: Heart, replies: str) -> None:
    right, free = heart.node(), heart.node()
    configure(heart, right, "h1")

    heart.hear(right, config_hash="h1", reply_to=replies)
    heart.hear(free, config_hash="h1", reply_to=replies)

    assert answers(heart, replies) == []


def test_a_late_heartbeat_is_not_answered(heart: Heart, replies: str) -> None:
    node = heart.node()
    configure(heart, node, "h2")
    heart.hear(node, config_hash="h2", reply_to=replies)

    heart.hear(node, -60, config_hash="h1", reply_to=replies)

    assert answers(heart, replies) == []


def test_a_reply_queue_that_is_not_there_hurts_nobody(heart: Heart) -> None:
    node = heart.node()
    configure(heart, node, "h2")

    heart.hear(node, reply_to="node_replies_nowhere")

    assert (heart.status(node), heart.queue(), heart.letters()) == ("ACTIVE", [], [])


@pytest.mark.parametrize("queue", ["gpu_reservations", "node_heartbeats", "node_replies_x; drop", "Node_Replies_a"])
def test_the_database_answers_into_no_other_queue(heart: Heart, queue: str) -> None:
    node = heart.node()
    configure(heart, node, "h2")

    heart.all("select autoscaler.take_heartbeats(%s)", (Jsonb([heart.beat(node, reply_to=queue)]),))

    assert heart.status(node) == "ACTIVE"
    assert heart.all("select 1 from pgmq.q_gpu_reservations union all select 1 from pgmq.q_node_heartbeats") == []
