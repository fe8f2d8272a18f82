"""Producing heartbeats: in the caller's transaction, many at once, or by hand; and only if they make sense."""

import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from pgfleet.producers.heartbeat import heartbeat, heartbeats
from pgfleet.schema.heartbeat import AutoscalerHeartbeat, ClusterHeartbeat, read
from pgfleet.schema.messages import BadMessage
from pgfleet.schema.nodes.proofs import hash_of, is_proven
from worlds.commands import Pgfleet
from worlds.database import Connection
from worlds.fleet import new_id

COUNT = "select count(*) from pgmq.q_node_heartbeats"
NODE = ("submit", "heartbeat", "--node", "17")
CLUSTER_NODE = ("submit", "heartbeat", "--cluster-node", "node-a")


@pytest.fixture
def conn(fleet_dsn: str) -> Iterator[Connection]:
    """One database for all, its queue emptied for each."""
    with psycopg.connect(fleet_dsn, autocommit=True) as conn:
        conn.execute("delete from pgmq.q_node_heartbeats")
        yield conn


def bodies(conn: Connection) -> list[dict[str, Any]]:
    return [row[0] for row in conn.execute("select message from pgmq.q_node_heartbeats order by msg_id")]


def test_a_heartbeat_is_sent_if_and_only_if_its_caller_commits(conn: Connection) -> None:
    with conn.transaction(force_rollback=True):
        heartbeat(conn, node_id=17, status="ok")
    assert conn.execute(COUNT).fetchone() == (0,)

    with conn.transaction():
        heartbeat(conn, node_id=17, status="ok")
    assert conn.execute(COUNT).fetchone() == (1,)


def test_without_a_connection_it_is_sent_to_database_url(
    fleet_dsn: str, conn: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", fleet_dsn)

    beat = heartbeat(source="cluster", node_id="node-a", status="ok")

    assert [body["id"] for body in bodies(conn)] == [beat]


@pytest.mark.parametrize(
    "fields",
    [
        {"node_id": 0},
        {"source": "satellite", "node_id": 17},
        {"source": "cluster", "node_id": "node-a", "cpu_usage_percent": 101},
        {"node_id": 17, "proof": "gpu_reservations"},
        {"node_id": 17, "sent_at": "2026-01-01T00:00:00"},
    ],
    ids=str,
)
def test_what_makes_no_heartbeat_is_refused_before_it_is_sent(conn: Connection, fields: dict[str, Any]) -> None:
    with pytest.raises(BadMessage, match=r"node_id|source|cpu_usage_percent|proof|sent_at"):
        heartbeat(conn, **{"status": "ok", **fields})

    assert conn.execute(COUNT).fetchone() == (0,)


def test_many_are_sent_at_once_as_a_worker_reads_them(conn: Connection) -> None:
    said = {"action": "heartbeat", "sent_at": "2026-01-01T00:00:00Z", "status": "ok", "metrics": {"fans": 3}}
    messages = [
        read({**said, "id": new_id(), "source": "autoscaler", "node_id": 17}),
        read({**said, "id": new_id(), "source": "cluster", "node_id": "node-a", "network_in_mbps": 7}),
    ]

    heartbeats(conn, messages)  # type: ignore[arg-type]

    assert [read(body) for body in bodies(conn)] == messages


# --- pgfleet submit heartbeat


def test_submit_sends_what_was_given_and_says_what_next(pgfleet: Pgfleet, conn: Connection) -> None:
    given = ("--status", "warm", "--error", "a fan", "--config-hash", "abc", "--reply-to", "node_replies_17")
    measured = ("--metric", "fans=3", "--metric", "fans_percent=12.5", "--cpu", "40", "--memory", "30", "--load", "1")

    end = pgfleet(*NODE, *given, *measured, "--pool", "ocid1.a=b=3/2")

    assert end.code == 0
    (body,) = bodies(conn)
    message = read(body)
    assert isinstance(message, AutoscalerHeartbeat)
    assert (str(message.id), message.node_id, message.status) == (end.out.strip(), 17, "warm")
    assert (message.error_message, message.config_hash, message.reply_to) == ("a fan", "abc", "node_replies_17")
    usage = {"cpu_usage_percent": 40, "memory_usage_percent": 30, "load_average": 1}
    assert message.metrics == {"fans": 3, "fans_percent": 12.5, **usage}
    (pool,) = message.pools
    assert (pool.oracle_pool_id, pool.current_instances, pool.active_instances) == ("ocid1.a=b", 3, 2)
    assert (pool.avg_cpu_utilization, pool.avg_memory_utilization) == (40, 30)
    assert "pgfleet nodes" in end.err


def test_submit_reports_for_a_node_of_a_cluster(pgfleet: Pgfleet, conn: Connection) -> None:
    end = pgfleet(*CLUSTER_NODE, "--cpu", "91", "--disk", "20", "--load", "3.5", "--metric", "fans=3")

    message = read(bodies(conn)[0])
    assert isinstance(message, ClusterHeartbeat)
    assert (message.node_id, message.status) == ("node-a", "ok")
    assert (message.cpu_usage_percent, message.memory_usage_percent, message.disk_usage_percent) == (91, None, 20)
    assert (message.load_average, message.metrics) == (3.5, {"fans": 3})
    assert "pgfleet clusters" in end.err


def test_the_json_of_submit_is_what_was_sent(pgfleet: Pgfleet, conn: Connection) -> None:
    beat = new_id()

    end = pgfleet(*NODE, "--id", beat, "--json")

    (body,) = bodies(conn)
    assert (end.json["id"], end.json["node_id"], end.json["status"]) == (beat, 17, "ok")
    assert read(end.json) == read(body)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param((*NODE, "--cluster-node", "node-a"), "Give one of", id="two nodes"),
        pytest.param(("submit", "heartbeat", "--status", "ok"), "Give one of", id="no node"),
        pytest.param((*NODE, "--metric", "fans"), "NAME=NUMBER", id="a metric without a number"),
        pytest.param((*NODE, "--metric", "fans=nan"), "NAME=NUMBER", id="a metric that is no number"),
        pytest.param((*NODE, "--pool", "a=3"), "OCID=CURRENT/ACTIVE", id="half a pool"),
        pytest.param((*NODE, "--pool", "a=3000000/1"), "current_instances", id="too many instances"),
        pytest.param((*CLUSTER_NODE, "--pool", "a=3/1"), "no pools", id="pools of a cluster's node"),
        pytest.param((*CLUSTER_NODE, "--cpu", "101"), "--cpu", id="more than all of the CPU"),
        pytest.param((*NODE, "--key-file", "nowhere/key"), "--key-file", id="a key that is not there"),
        pytest.param((*NODE, "--key-file", os.devnull), "--key-file", id="an empty key"),
        pytest.param((*NODE, "--id", "7"), "id", id="an id that is no UUID"),
        pytest.param(("submit", "heartbeat", "--node", "0"), "--node", id="no node's number"),
    ],
)
def test_submit_sends_nothing_that_makes_no_sense(
    pgfleet: Pgfleet, conn: Connection, arguments: tuple[str, ...], said: str
) -> None:
    end = pgfleet(*arguments)

    assert end.code == 2
    assert said in end.err
    assert conn.execute(COUNT).fetchone() == (0,)


@pytest.mark.parametrize("where", ["environment", "file", "stdin"])
def test_submit_proves_with_a_key_that_is_on_no_command_line(
    pgfleet: Pgfleet, conn: Connection, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, where: str
) -> None:
    key, file = "a-key-that-nobody-guesses", tmp_path / "key"
    file.write_text(f"{key}\n", encoding="utf-8")
    if where == "environment":
        monkeypatch.setenv("PGFLEET_NODE_KEY", key)
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{key}\n"))
    given = {"environment": (), "file": ("--key-file", str(file)), "stdin": ("--key-file", "-")}[where]

    end = pgfleet(*NODE, *given)

    (body,) = bodies(conn)
    assert is_proven(body, [hash_of("another"), hash_of(key)])
    assert not is_proven(body, [hash_of("another")])
    assert key not in end.out + end.err + str(body)


def test_the_help_of_submit_heartbeat_ends_with_an_example(pgfleet: Pgfleet) -> None:
    assert "Example: pgfleet submit heartbeat --node 17" in pgfleet("submit", "heartbeat", "--help").out
