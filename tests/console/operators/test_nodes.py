"""What people see of nodes and clusters, and that looking shows no secret and leaves no trace."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest

from pgfleet.schema.heartbeat import read
from pgfleet.workers.heartbeat import calls
from worlds.clusters import create, events, online, update, value
from worlds.commands import Pgfleet
from worlds.database import Connection
from worlds.fleet import PATIENCE_S, REPOSITORY, move_clock, new_id, worker_environment

SECRET = "5ec2e7" * 10


CLEAN = """
create or replace function public.fleet_now() returns timestamptz language sql stable parallel safe
as 'select statement_timestamp()';
delete from autoscaler.nodes;
delete from public.offline_sweeps;
truncate clusters.clusters cascade;
"""


@pytest.fixture
def conn(fleet_dsn: str) -> Iterator[Connection]:
    """One database for all, emptied for each."""
    with psycopg.connect(fleet_dsn, autocommit=True) as conn:
        conn.execute(CLEAN)
        yield conn


def register(conn: Connection, name: str, **columns: Any) -> int:
    given = {"name": name, "region": "eu", "api_key_hash": new_id(), **columns}
    names, places = ", ".join(given), ", ".join(f"%({column})s" for column in given)
    return int(value(conn, f"insert into autoscaler.nodes ({names}) values ({places}) returning id", given))


def beat(conn: Connection, node: int | str, **fields: Any) -> None:
    """What the worker does with one heartbeat."""
    source = "autoscaler" if isinstance(node, int) else "cluster"
    default = {"id": new_id(), "sent_at": datetime.now(UTC).isoformat(), "status": "ok"}
    message = read({"action": "heartbeat", "source": source, "node_id": node, **default, **fields})
    assert list(calls.take(conn, source, [(message, datetime.now(UTC))])) == []  # type: ignore[list-item]


def pool(name: str, current: int, active: int, **fields: Any) -> dict[str, Any]:
    counts = {"oracle_pool_id": name, "current_instances": current, "active_instances": active}
    return {**counts, "avg_cpu_utilization": 40, "avg_memory_utilization": 30, **fields}


def configure(conn: Connection, node: int, text: str = "password: geheim", *, is_active: bool = True) -> str:
    """One more configuration of a node; its hash."""
    added = "insert into autoscaler.node_configurations (node_id, yaml_config, is_active) values (%s, %s, %s)"
    return str(value(conn, f"{added} returning config_hash", (node, text, is_active)))


def sweep_seen(conn: Connection, machine: str, held_back: str | None) -> None:
    conn.execute(
        "insert into public.offline_sweeps (machine, swept_at, alive, silent, marked, held_back, held_back_since)"
        " values (%(machine)s, public.fleet_now(), 4, 3, 0, %(why)s, case when %(why)s::text is not null"
        " then public.fleet_now() - interval '5 minutes' end)",
        {"machine": machine, "why": held_back},
    )


def line_with(text: str, word: str) -> str:
    return next(line for line in text.splitlines() if word in line.split())


# --- nodes


def test_without_a_node_it_says_how_one_comes_to_be(pgfleet: Pgfleet) -> None:
    end = pgfleet("nodes")

    assert end.code == 0
    assert "no nodes" in end.out
    assert "nobody looks" not in end.out


def test_nodes_are_counted_and_listed_the_worst_first(pgfleet: Pgfleet, conn: Connection) -> None:
    for name in ("b-well", "a-well"):
        beat(conn, register(conn, name))
    register(conn, "a-never-seen")
    beat(conn, register(conn, "failing"), error_message="disk\n\x1b[31mfull")
    conn.execute("update autoscaler.nodes set status = 'OFFLINE' where id = %s", (_gone(conn),))

    end = pgfleet("nodes")

    assert "5 nodes: 1 OFFLINE, 1 ERROR, 2 ACTIVE, 1 INACTIVE" in end.out
    rows = [line.split() for line in end.out.splitlines()[3:]]
    assert [row[1] for row in rows if row and row[0].isdigit()] == [
        "z-gone",
        "failing",
        "a-well",
        "b-well",
        "a-never-seen",
    ]
    assert "failing: disk [31mfull" in end.out
    assert "\x1b" not in end.out
    assert "never" in line_with(end.out, "a-never-seen")


def _gone(conn: Connection) -> int:
    node = register(conn, "z-gone")
    beat(conn, node)
    return node


def test_only_those_of_a_status_and_the_deleted_only_if_asked_for(pgfleet: Pgfleet, conn: Connection) -> None:
    beat(conn, register(conn, "well"))
    register(conn, "never-seen")
    register(conn, "deleted", deleted_at=datetime.now(UTC))

    def listed(*options: str) -> list[str]:
        return [node["name"] for node in pgfleet("nodes", "--json", *options).json["nodes"]]

    assert listed() == ["well", "never-seen"]
    assert listed("--status", "inactive") == ["never-seen"]
    assert listed("--all") == ["well", "deleted", "never-seen"]
    assert "INACTIVE (deleted)" in pgfleet("nodes", "--all").out


def test_an_unknown_status_is_wrong_usage(pgfleet: Pgfleet) -> None:
    end = pgfleet("nodes", "--status", "dead")

    assert end.code == 2
    assert "OFFLINE, ERROR, ACTIVE, INACTIVE" in end.err


def test_past_the_limit_it_says_how_many_more_there_are(pgfleet: Pgfleet, conn: Connection) -> None:
    for number in range(3):
        register(conn, f"n{number}")

    assert "and 2 more" in pgfleet("nodes", "--limit", "1").out
    assert "more" not in pgfleet("nodes", "--limit", "3").out


def test_instances_are_shown_with_what_a_schedule_asks_for(pgfleet: Pgfleet, conn: Connection) -> None:
    scheduled, free = register(conn, "scheduled"), register(conn, "free")
    pools = [pool("a", 3, 2), pool("b", 1, 1, pool_status="warning"), pool("c", 9, 9, is_active=False)]
    beat(conn, scheduled, pools=pools)
    beat(conn, free, pools=[pool("d", 2, 1)])
    conn.execute("update autoscaler.pools set target_instances = 5 where oracle_pool_id = 'a'")

    end = pgfleet("nodes")

    assert line_with(end.out, "scheduled").split()[-7:] == ["2", "(+1", "off)", "4", "->", "6", "3"]
    assert line_with(end.out, "free").split()[-3:] == ["1", "2", "1"]


def test_a_node_that_runs_another_configuration_than_the_active_one_drifts(pgfleet: Pgfleet, conn: Connection) -> None:
    nodes = {name: register(conn, name) for name in ("right", "wrong", "mute", "free", "unheard")}
    for name in ("right", "wrong", "mute", "unheard"):
        before = configure(conn, nodes[name], "before", is_active=False)
        wanted = configure(conn, nodes[name], "wanted")
        configure(conn, nodes[name], "later", is_active=False)
    for name, config_hash in (("right", wanted), ("wrong", before), ("free", "b" * 64)):
        beat(conn, nodes[name], config_hash=config_hash)
    beat(conn, nodes["mute"])

    end = pgfleet("nodes")

    assert f"{before[:8]}, not {wanted[:8]}" in line_with(end.out, "wrong")
    assert f"?, not {wanted[:8]}" in line_with(end.out, "mute")
    assert not any(" not " in line_with(end.out, name) for name in ("right", "free", "unheard"))
    found = pgfleet("nodes", "--json").json["nodes"]
    assert {node["name"] for node in found if node["drift"]} == {"wrong", "mute"}


def test_that_the_offline_sweep_holds_back_is_told_with_its_reason(pgfleet: Pgfleet, conn: Connection) -> None:
    beat(conn, register(conn, "well"))
    sweep_seen(conn, "node", "3 of 4 would go offline at once")
    sweep_seen(conn, "cluster_node", None)

    end = pgfleet("nodes")

    assert "silent nodes are not marked offline since" in end.out
    assert "3 of 4 would go offline at once" in end.out
    assert pgfleet("nodes", "--json").json["sweep"]["held_back"] == "3 of 4 would go offline at once"
    create(conn)
    assert "marked offline" not in pgfleet("clusters").out


def test_that_nobody_sweeps_is_told(pgfleet: Pgfleet, conn: Connection) -> None:
    beat(conn, register(conn, "well"))
    assert "nobody looks for silent nodes (never)" in pgfleet("nodes").out

    sweep_seen(conn, "node", None)
    assert "nobody looks" not in pgfleet("nodes").out

    move_clock(conn, 600)
    assert "nobody looks for silent nodes (last 10 min ago)" in pgfleet("nodes").out


def test_how_far_clocks_are_off_is_shown(pgfleet: Pgfleet, conn: Connection) -> None:
    cluster = create(conn, "ours")
    for name, skew_s in (("late", 20), ("early", -7200), ("right", 0.25)):
        skews = [skew_s + 5, skew_s]
        register(conn, name, skews=skews)
        node = online(conn, cluster, name=name)
        conn.execute("update clusters.cluster_nodes set skews = %s where node_id = %s", (skews, node))
    register(conn, "unheard")

    for shown in (pgfleet("nodes").out, pgfleet("cluster", cluster).out):
        lines = [line.split() for line in shown.splitlines() if "behind" in line or "ahead" in line]
        assert [[word for word in ("late", "early", "behind", "ahead") if word in line] for line in lines] in (
            [["late", "behind"], ["early", "ahead"]],
            [["early", "ahead"], ["late", "behind"]],
        )
        assert ("20 s behind" in shown, "2.0 h ahead" in shown) == (True, True)
    found = {node["name"]: (node["skew_s"], node["clock_is_off"]) for node in pgfleet("nodes", "--json").json["nodes"]}
    off = {"late": (20, True), "early": (-7200, True), "right": (0.25, False), "unheard": (None, False)}
    assert found == off


def test_the_json_of_nodes_has_all_but_secrets(pgfleet: Pgfleet, conn: Connection) -> None:
    node = register(conn, "well", api_key_hash=SECRET)
    wanted = configure(conn, node)
    beat(conn, node, pools=[pool("a", 3, 2)], config_hash=wanted)

    end = pgfleet("nodes", "--json")

    assert end.json["counts"] == {"OFFLINE": 0, "ERROR": 0, "ACTIVE": 1, "INACTIVE": 0}
    assert end.json["more"] == 0
    (told,) = end.json["nodes"]
    assert (told["id"], told["status"], told["drift"], told["error_message"]) == (node, "ACTIVE", False, None)
    assert told["seen_s"] < 60
    assert told["last_heartbeat"].endswith("+00:00")
    assert told["pools"][0]["oracle_pool_id"] == "a"
    assert SECRET not in end.out + pgfleet("nodes").out
    assert "geheim" not in end.out


# --- clusters


def test_without_a_cluster_it_says_how_one_comes_to_be(pgfleet: Pgfleet) -> None:
    end = pgfleet("clusters")

    assert end.code == 0
    assert "create_cluster" in end.out


def test_clusters_are_listed_with_their_leaders_and_counts_the_worst_first(pgfleet: Pgfleet, conn: Connection) -> None:
    well, lost = create(conn, "well", p_region="eu-1"), create(conn, "lost")
    for name in ("w-one", "w-two"):
        online(conn, well, p_priority=60, name=name)
    leader = online(conn, lost, name="l-one")
    update(conn, leader, "offline")
    set_aside = create(conn, "aside")
    conn.execute("update clusters.clusters set status = 'maintenance' where cluster_id = %s", (set_aside,))

    end = pgfleet("clusters")

    assert [line.split()[0] for line in end.out.splitlines()[-3:]] == [lost[8:16], set_aside[8:16], well[8:16]]
    assert "LEADERLESS (was l-one)" in line_with(end.out, "lost")
    assert "1 offline" in line_with(end.out, "lost")
    assert "maintenance (operator)" in line_with(end.out, "aside")
    assert line_with(end.out, "well").split()[2:8] == ["eu-1", "active", "1.00", "2/2", "w-one", "w-two"]


def test_a_decommissioned_cluster_is_listed_only_if_asked_for(pgfleet: Pgfleet, conn: Connection) -> None:
    cluster = create(conn)
    value(conn, "select clusters.decommission_cluster(%s)", (cluster,))

    assert pgfleet("clusters", "--json").json["clusters"] == []
    assert [row["cluster_id"] for row in pgfleet("clusters", "--json", "--all").json["clusters"]] == [cluster]


def test_one_cluster_is_shown_with_nodes_advice_and_events(pgfleet: Pgfleet, conn: Connection) -> None:
    cluster = create(conn, "ours")
    first, second = (online(conn, cluster, name=name) for name in ("n-one", "n-two"))
    beat(conn, first, cpu_usage_percent=85, memory_usage_percent=40, load_average=1.5, config_hash="abcdef0123456789")

    end = pgfleet("cluster", "ours")

    node = line_with(end.out, first)
    assert all(
        word in node
        for word in ("online", "warning", "85", "40", "1.50", "abcdef01", "worker", "50", "primary", "n-one")
    )
    assert "coordinator" in line_with(end.out, second)
    assert "n-one: CPU at 85 %" in end.out
    assert "NODE_STATUS_CHANGED" in end.out


def test_the_json_of_a_cluster_has_its_parts(pgfleet: Pgfleet, conn: Connection) -> None:
    cluster = create(conn, "ours")
    node = online(conn, cluster)

    told = pgfleet("cluster", cluster, "--json").json

    assert (told["cluster_id"], told["status"], told["online_nodes"]) == (cluster, "active", 1)
    assert [(row["node_id"], row["is_primary"]) for row in told["nodes"]] == [(node, True)]
    assert told["recommendations"] == []
    assert len(told["events"]) <= 10
    assert "debug" not in {event["severity"] for event in told["events"]}


def test_of_many_events_the_last_ten_are_shown(pgfleet: Pgfleet, conn: Connection) -> None:
    cluster = create(conn, "ours")
    conn.execute(
        "insert into clusters.cluster_events (cluster_id, event_type, message, severity)"
        " select %s, 'T', n::text, case when n < 100 then 'info' else 'debug' end from generate_series(1, 120) n",
        (cluster,),
    )

    told = pgfleet("cluster", "ours", "--json").json

    assert [event["message"] for event in told["events"]] == [str(n) for n in range(99, 89, -1)]


def test_looking_leaves_no_event(pgfleet: Pgfleet, conn: Connection) -> None:
    cluster = create(conn, "ours")
    online(conn, cluster)
    before = events(conn, cluster)

    pgfleet("clusters")
    pgfleet("cluster", "ours")

    assert events(conn, cluster) == before


def test_the_beginning_of_an_id_or_of_a_name_is_enough(pgfleet: Pgfleet, conn: Connection) -> None:
    ours = create(conn, "ours")
    create(conn, "theirs")

    found = [pgfleet("cluster", given, "--json") for given in (ours[:16], ours[8:16], "OU", "ours", ours)]

    assert [end.json["cluster_id"] for end in found] == [ours] * 5


def test_a_whole_name_wins_over_the_beginning_of_another(pgfleet: Pgfleet, conn: Connection) -> None:
    prod = create(conn, "prod")
    create(conn, "prod-2")

    assert pgfleet("cluster", "prod", "--json").json["cluster_id"] == prod


def test_a_cluster_in_use_wins_over_a_former_one(pgfleet: Pgfleet, conn: Connection) -> None:
    former = create(conn, "prod")
    value(conn, "select clusters.decommission_cluster(%s)", (former,))
    assert pgfleet("cluster", "prod", "--json").json["cluster_id"] == former

    ours = create(conn, "prod")
    assert pgfleet("cluster", "prod", "--json").json["cluster_id"] == ours


@pytest.mark.parametrize("given", ["zzz", "%", "c_"])
def test_an_unknown_cluster_is_refused_with_where_to_look(pgfleet: Pgfleet, conn: Connection, given: str) -> None:
    create(conn, "ours")

    end = pgfleet("cluster", given)

    assert end.code == 1
    assert "pgfleet clusters" in end.err
    assert end.out == ""


def test_an_ambiguous_beginning_lists_the_candidates(pgfleet: Pgfleet, conn: Connection) -> None:
    ids = [create(conn, name) for name in ("prod-1", "prod-2")]

    end = pgfleet("cluster", "prod")

    assert end.code == 1
    assert all(cluster in end.err for cluster in ids)


# --- watching


def test_watching_on_a_pipe_prints_again_and_again_until_ctrl_c(fleet_dsn: str, conn: Connection) -> None:
    command = [sys.executable, "-m", "pgfleet.console.main", "nodes", "--watch"]
    environment = worker_environment(fleet_dsn, None)
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, cwd=REPOSITORY, text=True) as process:
        assert process.stdout is not None
        told = [process.stdout.readline() for _ in range(2)]

        process.send_signal(signal.SIGINT)

        assert process.wait(PATIENCE_S) == 130
    assert ["no nodes" in line for line in told] == [True, True]


@pytest.mark.parametrize("command", [("nodes",), ("clusters",), ("cluster", "ours")])
def test_watching_as_json_is_a_line_for_each_look(
    pgfleet: Pgfleet, conn: Connection, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    create(conn, "ours")
    waits = iter([None])

    def wait(seconds: float) -> None:
        assert seconds == 2
        if next(waits, "over") == "over":
            raise KeyboardInterrupt

    monkeypatch.setattr("pgfleet.console.showing.time.sleep", wait)
    end = pgfleet(*command, "--watch", "--json")

    assert end.code == 130
    assert [line[0] for line in end.out.splitlines()] == ["{", "{"]
