"""Heartbeats as messages: what is understood, what is refused and why, and that each counts once."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from psycopg.types.json import Jsonb

from pgfleet.workers.heartbeat.machine import KIND
from pgfleet.workers.runtime.work import work
from worlds.fleet import move_clock, new_id, settings_for, worker_on
from worlds.heartbeats import Heart, pool, without

LONG = "x" * 256


BODIES: list[tuple[Any, str]] = [
    (None, "body"),
    (7, "body"),
    ("heartbeat", "body"),
    (True, "body"),
    ([1], "body"),
    ({}, "action"),
    ({"action": "drop"}, "action"),
    ({"action": None}, "action"),
    ({"action": ["heartbeat"]}, "action"),
    ({"action": "heartbeat"}, "source"),
    ({"action": "heartbeat", "source": "toaster"}, "source"),
    ({"action": "heartbeat", "source": 1}, "source"),
    ({"action": "heartbeat", "source": ["cluster"]}, "source"),
]


@pytest.mark.parametrize(("body", "word"), BODIES, ids=str)
def test_a_body_that_is_no_heartbeat_is_a_dead_letter_at_once(heart: Heart, body: Any, word: str) -> None:
    heart.tell(body)

    assert heart.queue() == []
    (letter,) = heart.letters()
    assert letter.startswith((f"{word}:", f"the {word}"))
    assert heart.all("select message from public.dead_letters") == [body]


# Of an autoscaler's heartbeat: a field, and values that it can't have.
BAD: dict[str, list[Any]] = {
    "id": [None, 7, "", "not-a-uuid", ["x"], "1234"],
    "node_id": [None, 0, -1, 2**31, 1.5, True, "one", "", "-1", "99999999999", [1]],
    "sent_at": [None, "", "now", 1_700_000_000, True, "2026-01-01", "2026-01-01T00:00:00", "2026-13-01T00:00:00Z"],
    "status": [None, "", "x" * 51, 7, {}],
    "error_message": [7, "x" * 10_001, ["broken"]],
    "config_hash": [7, "x" * 65],
    "metrics": [7, "cpu", [1], {"x": "x" * 65_536}],
    "proof": [7, "", "x" * 64, "A" * 64, "a" * 63, "a" * 65, "a" * 64 + "\n", ["a" * 64]],
    "pools": [7, {}, "p", [7], [None], [pool("p")] * 1001],
}
BAD_POOL: dict[str, list[Any]] = {
    "oracle_pool_id": [None, "", LONG, 7, "a\nb"],
    "current_instances": [None, -1, 1_000_001, 1.5, "2", True],
    "active_instances": [None, -1, 1_000_001, 1.5, "2", True],
    "avg_cpu_utilization": [None, -0.1, 100.1, "50", "NaN", 10**90, True],
    "avg_memory_utilization": [None, -0.1, 100.1, "50", "NaN"],
    "max_cpu_utilization": [-0.1, 100.1, "50", "NaN", True],
    "max_memory_utilization": [-0.1, 100.1, "50", "NaN", True],
    "pool_status": ["ok", "", None, 7],
    "is_active": ["yes", 1, None],
    "scaling_event": [7, "x" * 101],
    "scaling_reason": [7, "x" * 10_001],
}
BAD_CLUSTER: dict[str, list[Any]] = {
    "node_id": [None, 7, "", LONG, "a\tb"],
    "cpu_usage_percent": [-0.1, 100.1, "NaN", "50", True],
    "memory_usage_percent": [-0.1, 100.1, "NaN", "50", True],
    "disk_usage_percent": [-0.1, 100.1, "NaN", "50", True],
    "load_average": [-1, "1", "Infinity", [1]],
    "network_in_mbps": [-1, "fast", None, {}],
    "network": [7, {"x": "y"}],
}


@pytest.mark.parametrize("field", BAD)
def test_a_field_out_of_its_range_is_refused_by_its_name(heart: Heart, field: str) -> None:
    node = heart.node()

    heart.tell(*(heart.beat(node) | {field: value} for value in BAD[field]))

    assert len(heart.letters()) == len(BAD[field])
    assert [letter for letter in heart.letters() if not letter.startswith(field)] == []
    assert heart.queue() == []
    assert (heart.status(node), heart.kept(node)) == ("INACTIVE", [])


@pytest.mark.parametrize("field", ["id", "node_id", "sent_at", "status"])
@pytest.mark.parametrize("source", ["autoscaler", "cluster"])
def test_a_missing_field_is_refused_by_its_name(heart: Heart, source: str, field: str) -> None:
    node = heart.node() if source == "autoscaler" else heart.cluster_node()

    heart.tell(without(heart.beat(node), [field]))

    (letter,) = heart.letters()
    assert letter.startswith(field)


@pytest.mark.parametrize("field", BAD_POOL)
def test_a_pools_field_out_of_its_range_is_refused_by_its_name(heart: Heart, field: str) -> None:
    node = heart.node()

    heart.tell(*(heart.beat(node, pools=[pool("good"), pool("bad") | {field: value}]) for value in BAD_POOL[field]))

    assert len(heart.letters()) == len(BAD_POOL[field])
    assert [letter for letter in heart.letters() if not letter.startswith(f"pools.1.{field}")] == []
    assert heart.status(node) == "INACTIVE"
    assert heart.all("select 1 from autoscaler.pools where node_id = %s", (node,)) == []


@pytest.mark.parametrize("field", BAD_CLUSTER)
def test_a_cluster_nodes_field_out_of_its_range_is_refused_by_its_name(heart: Heart, field: str) -> None:
    node = heart.cluster_node()

    heart.tell(*(heart.beat(node) | {field: value} for value in BAD_CLUSTER[field]))

    assert len(heart.letters()) == len(BAD_CLUSTER[field])
    assert [letter for letter in heart.letters() if field not in letter] == []
    assert (heart.queue(), heart.status(node)) == ([], "provisioning")


ODD: list[tuple[str, dict[str, Any]]] = [
    ("network", {"network": 7, "network_in_mbps": 1, "source": "cluster"}),
    ("network", {"network": None, "network_in_mbps": 1, "source": "cluster"}),
    ("metrics", {"metrics": {"x" * 101: 1}}),
    ("metrics", {"metrics": {"bytes": 10**90}}),
    ("sent_at", {"sent_at": "0001-01-01T00:00:00+12:00"}),
    ("sent_at", {"sent_at": "9999-12-31T23:59:59-12:00"}),
]


@pytest.mark.parametrize(
    ("field", "given"), ODD, ids=["a number", "null", "a long name", "90 digits", "before time", "after time"]
)
def test_what_the_database_could_not_take_is_refused_at_once_too(
    heart: Heart, field: str, given: dict[str, Any]
) -> None:
    node: int | str = heart.cluster_node() if "source" in given else heart.node()

    heart.tell(heart.beat(node) | given)

    (letter,) = heart.letters()
    assert letter.startswith(field)


def test_metrics_nested_very_deep_are_answered_at_once(heart: Heart) -> None:
    deep: dict[str, Any] = {}
    for _ in range(400):
        deep = {"x": deep}

    heart.tell(heart.beat(heart.node(), metrics=deep))

    assert heart.queue() == []


GOOD: list[dict[str, Any]] = [
    {"pools": []},
    {"error_message": None, "config_hash": None, "metrics": None, "reply_to": None},
    {"error_message": "", "metrics": {}},
    {"status": "x" * 50, "config_hash": "f" * 64, "error_message": "x" * 10_000},
    {"metrics": {"x": "x" * 65_000, "list": [1], "deep": {"a": {"b": None}}, "n" * 100: 1e30}},
    {"x_weather": "fine", "x_node": {"id": 9}, "job_id": 7, "_metadata": [2]},
    {"sent_at": "2026-01-01T00:00:00+20:00"},
    {"sent_at": "0001-01-01T00:00:00Z"},
    {"sent_at": "1970-01-01T00:00:00Z"},
    {"sent_at": "9999-12-31T23:59:59Z"},
    {"pools": [pool(f"many-{number}") for number in range(1000)]},
    {"pools": [pool("x" * 255, 0, avg_cpu_utilization=0, avg_memory_utilization=100)]},
    {
        "pools": [
            pool("full", 1_000_000, max_cpu_utilization=100, max_memory_utilization=0, x_zone="z", is_active=False)
        ]
    },
]


@pytest.mark.parametrize("given", GOOD, ids=lambda given: str(given)[:60])
def test_what_is_within_its_range_is_taken(heart: Heart, given: dict[str, Any]) -> None:
    node = heart.node()

    heart.tell(heart.beat(node) | given)

    assert (heart.letters(), heart.queue()) == ([], [])
    assert heart.status(node) in {"ACTIVE", "ERROR"}


def test_any_client_of_pgmq_can_send_one(heart: Heart) -> None:
    node = heart.node()
    heart.one("select pgmq.send('node_heartbeats', %s)", (Jsonb(heart.beat(node)),))

    heart.worker.run_once()

    assert heart.status(node) == "ACTIVE"


def test_half_a_mebibyte_of_metrics_is_refused_with_its_size_and_the_rest_of_the_batch_commits(heart: Heart) -> None:
    nodes = [heart.node() for _ in range(3)]
    bodies = [heart.beat(node) for node in nodes]
    bodies[1]["metrics"] = {"dump": "x" * 2**19}

    heart.tell(*bodies)

    assert heart.letters() == ["metrics: must not be larger than 64 KiB; it has 512"]
    assert [heart.status(node) for node in nodes] == ["ACTIVE", "INACTIVE", "ACTIVE"]


def test_metrics_are_written_as_numbers_with_their_unit(heart: Heart) -> None:
    node = heart.node()

    heart.hear(node, metrics={"cpu_percent": 1.5, "disk_gb": 2, "up": True, "name": "x", "deep": {"a": 1}})

    rows = heart.all("select metric_type, value, unit from autoscaler.metrics where node_id = %s order by 1", (node,))
    assert rows == [("cpu_percent", 1.5, "percent"), ("disk_gb", 2.0, "gigabytes")]
    kept = heart.one("select metrics_data::jsonb from autoscaler.node_heartbeats where node_id = %s", (node,))
    assert kept["deep"] == {"a": 1}


def counted(heart: Heart, node: int, oracle_pool_id: str) -> tuple[int, int, int]:
    metrics = heart.one("select count(*) from autoscaler.metrics where node_id = %s", (node,))
    return len(heart.kept(node)), len(heart.analytics(oracle_pool_id)), metrics


def test_the_same_message_twice_in_one_claim_counts_once(heart: Heart) -> None:
    node, mine = heart.node(), new_id()
    body = heart.beat(node, pools=[pool(mine)], metrics={"x": 1})

    heart.tell(body, body, body | {"status": "error"})

    assert counted(heart, node, mine) == (1, 1, 1)
    assert (heart.queue(), heart.letters(), heart.status(node)) == ([], [], "ACTIVE")


def test_the_same_message_in_two_claims_counts_once(heart: Heart) -> None:
    node, mine = heart.node(), new_id()
    body = heart.beat(node, pools=[pool(mine)], metrics={"x": 1})

    for _ in range(2):
        heart.tell(body)
    move_clock(heart.conn, 3600)
    heart.tell(body | {"sent_at": heart.time(), "status": "error"})

    assert counted(heart, node, mine) == (1, 1, 1)
    assert heart.status(node) == "ACTIVE"


def test_the_same_message_taken_by_two_workers_at_once_counts_once(heart: Heart) -> None:
    nodes = [heart.node() for _ in range(20)]
    mine = [new_id() for _ in nodes]
    bodies = [heart.beat(n, pools=[pool(p)], metrics={"x": 1}) for n, p in zip(nodes, mine, strict=True)]
    heart.send(*bodies)
    first = heart.worker.claim(100)
    heart.send(*reversed(bodies))
    with worker_on(KIND, settings_for(heart.dsn)) as other, ThreadPoolExecutor(2) as threads:
        second = other.claim(100)

        list(threads.map(work, [heart.worker.running, other.running], [first, second]))

    assert {counted(heart, n, p) for n, p in zip(nodes, mine, strict=True)} == {(1, 1, 1)}
    assert heart.queue() == []


def test_one_id_of_two_nodes_never_wakes_a_deleted_one(heart: Heart) -> None:
    deleted, alive = heart.node(), heart.node()
    heart.hear(deleted, -60)
    heart.conn.execute("update autoscaler.nodes set deleted_at = now() where id = %s", (deleted,))
    before = heart.row(deleted)
    same = new_id()

    heart.tell(heart.beat(deleted, id=same, status="error"), heart.beat(alive, id=same))

    assert heart.row(deleted) == before
    assert len(heart.kept(deleted)) == 1
    assert heart.status(alive) == "ACTIVE"


def test_a_cluster_nodes_message_twice_counts_once(heart: Heart) -> None:
    node = heart.cluster_node()
    body = heart.beat(node, cpu_usage_percent=10)

    heart.tell(body, body)
    heart.tell(body)

    assert heart.all("select count(*) from clusters.cluster_metrics where node_id = %s", (node,)) == [1]
