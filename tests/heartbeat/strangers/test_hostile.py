"""Hostile values in every field: each is a rejection of its own at the most, and the good beside it counts."""

from typing import Any

import pytest

from worlds.heartbeats import Heart, pool

DEEP: Any = 1
for _ in range(900):
    DEEP = [DEEP]
HOSTILE: list[Any] = [
    1e308,
    -1e308,
    10**400,
    -(10**400),
    2**31,
    2**63,
    -1,
    0.1,
    -0.0,
    5e-324,
    "NaN",
    "Infinity",
    "-Infinity",
    "1e999",
    None,
    True,
    "",
    " ",
    "x" * 70_000,
    "\ud7ff\uffff\U0010ffff",
    "'; drop table x; --",
    "9999-12-31T23:59:59.999999-23:59",
    "0001-01-01T00:00:00+23:59",
    "infinity",
    "now",
    [],
    {},
    [[]],
    {"x": None},
    {"": 1},
    {"NaN": "NaN"},
    {"x" * 5000: 1},
    {"x": 1e308},
    {"x": -1e308},
    {"x": 10**400},
    {"x": [10**400]},
    {"x": {"y": 1e308}},
    {"x": 5e-324},
    {str(number): number for number in range(5000)},
    DEEP,
    {"x": DEEP},
    [{}],
    [pool("a"), pool("a")],
    [None],
    "\x7f\x1b[2J",
]
AUTOSCALER = (
    "id", "node_id", "sent_at", "status", "error_message", "config_hash", "metrics", "reply_to", "proof", "pools",
    "action", "source", "x_more", "unknown", "cpu_usage_percent",
)  # fmt: skip
CLUSTER = (
    "id", "node_id", "sent_at", "status", "error_message", "config_hash", "metrics", "reply_to", "proof", "action",
    "cpu_usage_percent", "memory_usage_percent", "disk_usage_percent", "load_average", "network", "network_in_mbps",
    "network_" + "x" * 5000, "pools",
)  # fmt: skip
POOL = (
    "oracle_pool_id", "current_instances", "active_instances", "avg_cpu_utilization", "avg_memory_utilization",
    "max_cpu_utilization", "max_memory_utilization", "pool_status", "is_active", "scaling_event", "scaling_reason",
)  # fmt: skip


def beside_a_good_one(heart: Heart, good: int | str, bodies: list[dict[str, Any]]) -> None:
    """One claim of them all, in which the good one is in the midst."""
    half = len(bodies) // 2

    heart.tell(*bodies[:half], heart.beat(good), *bodies[half:])

    assert heart.status(good) in {"ACTIVE", "online"}
    # Rejections only: nothing that a worker has stumbled over.
    assert heart.all("select distinct verdict from public.dead_letters") in ([], ["rejection"])
    left = heart.all("select message from pgmq.q_node_heartbeats")
    assert [body for body in left if body["node_id"] == good] == []


@pytest.mark.parametrize("field", AUTOSCALER)
def test_a_hostile_field_of_a_node_is_refused_alone(heart: Heart, field: str) -> None:
    good, bad = heart.node(), heart.node()

    beside_a_good_one(heart, good, [heart.beat(bad) | {field: value} for value in HOSTILE])


@pytest.mark.parametrize("field", CLUSTER)
def test_a_hostile_field_of_a_clusters_node_is_refused_alone(heart: Heart, field: str) -> None:
    good, bad = heart.cluster_node(), heart.cluster_node()

    beside_a_good_one(heart, good, [heart.beat(bad) | {field: value} for value in HOSTILE])


@pytest.mark.parametrize("field", POOL)
def test_a_hostile_field_of_a_pool_is_refused_alone(heart: Heart, field: str) -> None:
    good, bad = heart.node(), heart.node()

    beside_a_good_one(
        heart,
        good,
        [heart.beat(bad, pools=[pool(f"p{at}") | {field: value}]) for at, value in enumerate(HOSTILE)],
    )


def test_what_was_let_in_can_be_summed_and_rolled_up(heart: Heart) -> None:
    node, cluster_node = heart.node(), heart.cluster_node()
    for body in (heart.beat(node), heart.beat(cluster_node)):
        heart.tell(*(body | {"id": heart.beat(1)["id"], "metrics": {"x": value}} for value in HOSTILE))

    heart.roll_up()

    assert heart.one("select sum(value) < 'Infinity' and avg(value) < 'Infinity' from autoscaler.metrics")
