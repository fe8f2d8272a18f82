"""Pools that heartbeats tell of, and the answers to nodes that run another configuration than they should."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import structlog

from pgfleet.workers.heartbeat.machine import KIND
from pgfleet.workers.runtime.work import work
from worlds.fleet import settings_for, worker_on
from worlds.heartbeats import Heart, pool


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


def test_a_node_has_a_thousand_pools_at_the_most_and_one_word_tells_of_the_others(heart: Heart) -> None:
    node, other = heart.node(), heart.node()
    heart.hear(node, pools=[pool(f"a{number}") for number in range(999)])
    heart.hear(other, pools=[pool("theirs"), pool("theirs-2")])

    with structlog.testing.capture_logs() as lines:
        heart.hear(node, pools=[pool(f"b{number}") for number in range(600)])
        heart.hear(node, pools=[pool("theirs"), pool("theirs-2"), pool("a1", 7)])

    assert heart.one("select count(*) from autoscaler.pools where node_id = %s", (node,)) == 1000
    assert heart.pool("a1")["current_instances"] == 7
    assert [line["reason"] for line in lines if line["event"] == "message.note"] == [
        "pool b1 is one too many: a node has 1000 (and 598 more)",
        f"pool theirs belongs to node {other} (and 1 more)",
    ]
