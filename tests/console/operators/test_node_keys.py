"""`pgfleet nodes add`, `rotate-key`, `revoke-keys`, `let`, `remove`: the key is shown once, and is nowhere else."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from pgfleet.schema.nodes.proofs import hash_of
from worlds.clusters import add, create
from worlds.commands import Pgfleet
from worlds.fleet import Connection
from worlds.strangers import stranger_dsn

WRITTEN = """
select jsonb_agg(t)::text from (
  select to_jsonb(a) from autoscaler.audit_logs a
  union all select to_jsonb(h) from public.status_history h
  union all select to_jsonb(l) from autoscaler.node_lifecycle_logs l
  union all select to_jsonb(n) from autoscaler.nodes n
  union all select to_jsonb(k) from public.node_keys k) t
"""


@pytest.fixture
def conn(fleet_dsn: str) -> Iterator[Connection]:
    with psycopg.connect(fleet_dsn, autocommit=True) as conn:
        yield conn


def one(conn: Connection, statement: str, *values: Any) -> Any:
    row = conn.execute(statement.encode(), values).fetchone()
    assert row is not None
    return row[0]


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """All that goes to the server from now on, with its parameters."""
    seen: list[str] = []
    execute = psycopg.Cursor.execute

    def watched(cursor: Any, query: Any, params: Any = None, **more: Any) -> Any:
        seen.append(f"{query!r} {params!r}")
        return execute(cursor, query, params, **more)

    monkeypatch.setattr(psycopg.Cursor, "execute", watched)
    return seen


def test_the_key_of_a_new_node_is_the_answer_and_is_nowhere_else(
    pgfleet: Pgfleet, conn: Connection, statements: list[str]
) -> None:
    end = pgfleet("nodes", "add", "rack-7", "--region", "eu")

    key = end.out.strip()
    assert (end.code, len(key), "shown once" in end.err) == (0, 64, True)
    assert key not in end.err
    number, known = conn.execute("select id, api_key_hash from autoscaler.nodes where name = 'rack-7'").fetchone() or ()
    assert known == hash_of(key)
    assert one(conn, "select key_prefix from public.node_keys where node_id = %s", number) == key[:8]
    assert "rack-7" in one(conn, WRITTEN)
    for text in (one(conn, WRITTEN), *statements):
        assert key not in text
    for text in one(conn, "select array_agg(to_jsonb(a)::text) from autoscaler.audit_logs a"):
        assert hash_of(key) not in text


def test_a_rotated_key_is_another_and_revoked_keys_are_counted(pgfleet: Pgfleet, conn: Connection) -> None:
    made = pgfleet("nodes", "add", "rack-8", "--region", "eu", "--json").json
    node = str(made["node"])

    rotated = pgfleet("nodes", "rotate-key", node, "--json").json
    revoked = pgfleet("nodes", "revoke-keys", node).out
    again = pgfleet("nodes", "revoke-keys", node, "--json").json

    assert rotated["node"] == node
    assert rotated["key"] != made["key"]
    assert (revoked, again["revoked"]) == (f"node {node}: 2 keys revoked\n", 0)


def test_a_node_of_a_cluster_has_keys_too(pgfleet: Pgfleet, conn: Connection) -> None:
    node = add(conn, create(conn))

    key = pgfleet("nodes", "rotate-key", node).out.strip()

    assert one(conn, "select key_hash from public.node_keys where cluster_node_id = %s", node) == hash_of(key)


def test_a_login_is_let_speak_for_a_node_until_that_is_removed(
    pgfleet: Pgfleet, conn: Connection, fleet_dsn: str
) -> None:
    conn.execute("select public.create_fleet_roles()")
    with stranger_dsn(fleet_dsn, role="pgfleet_node", queues=()) as own, psycopg.connect(own) as theirs:
        name = theirs.info.user
        node = str(pgfleet("nodes", "add", "rack-9", "--region", "eu", "--login", name, "--json").json["node"])
        again = pgfleet("nodes", "let", node, name)
        speaks = one(conn, "select public.node_of(%s)", name)

        removed = pgfleet("nodes", "remove", node)

        assert again.out == f"{name} speaks for node {node}; it is answered in node_replies_{node}\n"
        assert (speaks, removed.out) == (node, f"node {node} deleted\n")
        assert one(conn, "select public.node_of(%s)", name) is None
        assert (
            one(conn, "select count(*) from autoscaler.nodes where id = %s and deleted_at is not null", int(node)) == 1
        )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nodes", "rotate-key", "999999999"), "there is no node 999999999"),
        (("nodes", "rotate-key", "node-x"), "there is no node node-x"),
        (("nodes", "remove", "999999999"), "There is no node 999999999 of the autoscaler."),
        (("nodes", "remove", "x; drop"), "There is no node x; drop of the autoscaler."),
        (("nodes", "let", "999999999", "eve"), "there is no node 999999999"),
        (("nodes", "add", "rack-10", "--region", "eu", "--login", "nobody-at-all"), "there is no login nobody-at-all"),
    ],
)
def test_what_is_not_there_gets_no_key(
    pgfleet: Pgfleet, conn: Connection, arguments: tuple[str, ...], said: str
) -> None:
    end = pgfleet(*arguments)

    assert (end.code, end.out, said in end.err) == (1, "", True)
    assert one(conn, "select count(*) from autoscaler.nodes where name = 'rack-10'") == 0


def test_a_login_of_somebody_else_gives_no_keys(
    pgfleet: Pgfleet, conn: Connection, fleet_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    conn.execute("select public.create_fleet_roles()")
    with stranger_dsn(fleet_dsn, role="pgfleet_monitor", queues=()) as own:
        monkeypatch.setenv("DATABASE_URL", own)

        ends = [pgfleet("nodes", "add", "rack-11", "--region", "eu"), pgfleet("nodes", "rotate-key", "1")]

    assert [(end.code != 0, end.out) for end in ends] == [(True, ""), (True, "")]
    assert one(conn, "select count(*) from autoscaler.nodes where name = 'rack-11'") == 0
