"""`pgfleet nodes config`, `pools` and `schedules`: what operators say of nodes, shown, compared and set."""

import hashlib
import io
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest

from worlds.commands import Pgfleet
from worlds.fleet import Connection

TEXT = "pools:\n  - instance_pool_id: {pool}\n    scaling_limits: {{min: 2, max: 4}}\n"
SECRET = "hunter2"  # noqa: S105  # to be looked for


@pytest.fixture
def conn(fleet_dsn: str) -> Iterator[Connection]:
    with psycopg.connect(fleet_dsn, autocommit=True) as conn:
        yield conn


def one(conn: Connection, statement: str, *values: Any) -> Any:
    row = conn.execute(statement.encode(), values).fetchone()
    assert row is not None
    return row[0]


@pytest.fixture
def node(conn: Connection) -> str:
    """With a pool of its own name."""
    number = one(conn, "insert into autoscaler.nodes (name, region) values ('n', 'eu') returning id")
    conn.execute(
        "insert into autoscaler.pools (node_id, oracle_pool_id, name, region) values (%s, %s, 'p', 'eu')",
        (number, f"pool-{number}"),
    )
    return str(number)


def file(tmp_path: Path, text: str | bytes) -> str:
    path = tmp_path / "node.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return str(path)


def test_a_configuration_is_set_listed_shown_compared_and_set_again(
    pgfleet: Pgfleet, conn: Connection, node: str, tmp_path: Path
) -> None:
    text = TEXT.format(pool=f"pool-{node}")
    first = pgfleet("nodes", "config", "set", node, file(tmp_path, text), "--json").json
    same = pgfleet("nodes", "config", "set", node, file(tmp_path, text))
    second = pgfleet("nodes", "config", "set", node, file(tmp_path, "a: 1\n"), "--json").json
    listed = pgfleet("nodes", "config", "ls", node, "--json").json
    changed = pgfleet("nodes", "config", "diff", node, str(first["id"])).out
    active = pgfleet("nodes", "config", "show", node).out
    again = pgfleet("nodes", "config", "activate", node, str(first["id"]))
    shown = pgfleet("nodes", "config", "show", node).out

    assert first["config_hash"] == hashlib.sha256(text.encode()).hexdigest()
    assert (same.code, "was active already" in same.out) == (0, True)
    assert [(row["id"], row["is_active"]) for row in listed] == [(second["id"], True), (first["id"], False)]
    assert "-a: 1" in changed
    assert "+pools:" in changed
    assert (active, again.code, shown) == ("a: 1\n", 0, text)
    limits = "select array[min_instances, max_instances] from autoscaler.pools where node_id = %s"
    assert one(conn, limits, int(node)) == [2, 4]


def test_a_list_of_configurations_says_which_is_active_and_which_runs(
    pgfleet: Pgfleet, conn: Connection, node: str, tmp_path: Path
) -> None:
    empty = pgfleet("nodes", "config", "ls", node).out
    running = pgfleet("nodes", "config", "set", node, file(tmp_path, "a: 1"), "--json").json
    conn.execute("update autoscaler.nodes set config_hash = %s where id = %s", (running["config_hash"], int(node)))
    pgfleet("nodes", "config", "set", node, file(tmp_path, "a: 2"))

    lines = pgfleet("nodes", "config", "ls", node).out.splitlines()
    drift = pgfleet("nodes", "config", "diff", node).out

    assert "has no configuration" in empty
    assert [line.split()[-1] for line in lines[1:]] == ["active", "running"]
    assert drift.splitlines()[-2:] == ["-a: 1", "+a: 2"]


def test_a_configuration_comes_from_standard_input_too(
    pgfleet: Pgfleet, node: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"a: 1")))

    end = pgfleet("nodes", "config", "set", node, "-")

    assert (end.code, "is active" in end.out) == (0, True)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"password: {SECRET}\n\tx: 1", "(line 2, column 1)"),
        (f"[{SECRET}]", "must be a mapping"),
        (SECRET.encode("utf-16"), "not UTF-8"),
        (b"#" * 10_485_760, "may have 256 KiB"),
        (f"a: {SECRET}\npools: 1", "pools: must be a list"),
    ],
)
def test_a_file_that_is_no_configuration_is_refused_without_a_word_of_it(
    pgfleet: Pgfleet, conn: Connection, node: str, tmp_path: Path, text: str | bytes, said: str
) -> None:
    end = pgfleet("nodes", "config", "set", node, file(tmp_path, text))

    assert (end.code, said in end.err) == (2, True), end.err
    assert SECRET not in f"{end.out}{end.err}"
    assert one(conn, "select count(*) from autoscaler.node_configurations where node_id = %s", int(node)) == 0


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("config", "show", "{node}"), 1, "has no active configuration"),
        (("config", "show", "{node}", "999999"), 1, "has no configuration 999999"),
        (("config", "activate", "{node}", "999999"), 1, "has no configuration 999999"),
        (("config", "diff", "{node}"), 1, "has no active configuration"),
        (("config", "set", "999999", "{file}"), 1, "there is no node 999999"),
        (("config", "set", "{node}", "/no/such/file"), 2, "/no/such/file can't be read"),
        (("pools", "set", "no-such-pool", "--min", "1"), 1, "There is no pool no-such-pool"),
        (("pools", "set", "999999999", "--min", "1"), 1, "there is no pool 999999999"),
        (("pools", "set", "pool-{node}", "--min", "11"), 1, "the minimum not above the maximum"),
        (("pools", "set", "pool-{node}"), 2, "Say what to change"),
        (
            ("schedules", "add", "999999", "x", "--from", "01:00", "--to", "02:00", "--instances", "1"),
            1,
            "no node 999999",
        ),
        (("schedules", "add", "{node}", "x", "--from", "1", "--to", "02:00", "--instances", "1"), 1, "HH:MM"),
        (("schedules", "set", "999999", "--off"), 1, "there is no schedule 999999"),
        (("schedules", "remove", "999999"), 1, "there is no schedule 999999"),
    ],
)
def test_what_can_not_be_is_told_in_a_sentence(
    pgfleet: Pgfleet, node: str, tmp_path: Path, arguments: tuple[str, ...], code: int, said: str
) -> None:
    given = [each.format(node=node, file=file(tmp_path, "a: 1")) for each in arguments]

    end = pgfleet("nodes", *given)

    assert said in end.err
    assert end.code == code, end.err


def test_pools_are_listed_and_changed_by_number_or_name(pgfleet: Pgfleet, node: str) -> None:
    pgfleet("nodes", "pools", "set", f"pool-{node}", "--min", "2", "--max", "3", "--name", "mine")
    (row,) = pgfleet("nodes", "pools", "ls", node, "--json").json
    off = pgfleet("nodes", "pools", "set", str(row["id"]), "--off").out
    picture = pgfleet("nodes", "pools", "ls", node).out

    assert (row["min_instances"], row["max_instances"], row["name"]) == (2, 3, "mine")
    assert off == f"{row['id']} mine: 2 to 3 instances, off\n"
    assert "off" in picture
    assert f"pool-{node}" in pgfleet("nodes", "pools").out


def test_schedules_are_made_listed_changed_and_removed(pgfleet: Pgfleet, node: str) -> None:
    times = ("--from", "20:00", "--to", "06:00", "--instances", "2")
    made = pgfleet("nodes", "schedules", "add", node, "nights", *times, "--json").json
    pgfleet("nodes", "schedules", "set", str(made["id"]), "--instances", "5", "--off")
    (row,) = pgfleet("nodes", "schedules", "ls", node, "--json").json
    picture = pgfleet("nodes", "schedules").out
    removed = pgfleet("nodes", "schedules", "remove", str(made["id"]))

    assert (row["name"], row["start_time"], row["end_time"]) == ("nights", "20:00", "06:00")
    assert (row["target_instances"], row["is_active"]) == (5, False)
    assert "nights" in picture
    assert (removed.code, pgfleet("nodes", "schedules", "ls", node).out.startswith("no schedules")) == (0, True)
