"""Every command, over a database in which all texts of all rows are hostile: no terminal obeys them, nor does rich."""

import json
import re
from collections.abc import Iterator
from typing import Any
from unicodedata import category

import psycopg
import pytest
from psycopg.sql import SQL, Identifier
from psycopg.types.json import Jsonb

from pgfleet.console.main import COMMANDS, load
from pgfleet.producers.submit.terminal import print_json
from worlds.commands import Pgfleet
from worlds.database import Connection, fresh_database
from worlds.documented import PEOPLE, populate_cluster

# A title, colours, an erased screen, directions, a line of its own; markup and emoji codes of rich.
HOSTILE = "\x1b]0;t\x07\x1b[31m\x9b2j\u202e\u2066\u200f\u2028 [bold]b[/bold][link=x]l[/link]:smile:\r\nforged"
AS_WRITTEN = re.compile(r"\[bold\]b\[/bold\]\[link=x\]l\[/link\]:smile:(?:\s*|\\r\\n)forged")

ROWS = """
  insert into public.reservations (reservation_id, user_id, status, gpu_type, gpu_count, duration_hours, created_at)
    values ('r1', 'ada', 'pending', 'h100', 1, 8, now()), ('r2', 'ada', 'failed', 'h100', 1, 8, now());
  insert into public.status_history (machine, row_id, from_status, to_status, reason, actor) values
    ('reservation', 'r1', '(new)', 'pending', '', ''), ('reservation', 'r2', 'active', 'failed', '', ''),
    ('disk', '00000000-0000-0000-0000-000000000001', '(new)', 'available', '', '');
  insert into public.disks (disk_id, disk_name, user_id) values ('00000000-0000-0000-0000-000000000001', 'd', 'ada');
  insert into public.dead_letters (queue, msg_id, message, headers, reason, enqueued_at)
    values ('gpu_reservations', 1, '{"action": "x"}', '{"x": "x"}', '', now());
  insert into public.outages (dependency, calls, queue, code, reason, retry_at)
    values ('kubernetes', 'read', 'gpu_reservations', 'KUBERNETES_UNREACHABLE', '', now());
  insert into public.pauses (what, reason) values ('disk_operations', ''), ('deletes', '');
  insert into public.node_cordons (node_name, until, reason) values ('n', now() + interval '1 hour', '');
  insert into autoscaler.nodes (name, region, status) values ('edge', 'here', 'ACTIVE');
"""
# What workers and migrations look up by its name; only the owner writes it.
OF_THE_OWNER = {"schema_migrations", "moves", "periodic", "retention", "limits", "meta"}
OF_WORKERS = {"machine", "queue", "what", "dependency", "calls"}
TEXTS = """
  select c.table_schema, c.table_name, c.column_name, c.udt_name
  from information_schema.columns c join information_schema.tables t using (table_schema, table_name)
  where t.table_type = 'BASE TABLE' and c.is_generated = 'NEVER' and c.udt_name in ('text', 'varchar', '_text', 'jsonb')
    and c.table_schema in ('public', 'hopsworks', 'autoscaler', 'clusters', 'pgmq')
"""
WORSE = {
    "text": "update {table} set {column} = coalesce({column}, '') || %(text)s",
    "varchar": "update {table} set {column} = coalesce({column}, '') || %(text)s",
    "_text": "update {table} set {column} = array(select each || %(text)s from unnest({column}) each)",
    "jsonb": "update {table} set {column} = {column} || %(json)s where jsonb_typeof({column}) = 'object'",
}


@pytest.fixture(scope="module")
def hostile(server_dsn: str, template: str) -> Iterator[str]:
    with fresh_database(server_dsn, template) as dsn:
        with psycopg.connect(dsn, autocommit=True) as conn:
            conn.execute("set search_path = clusters, public")
            populate_cluster(conn)
            conn.execute("set session_replication_role = replica")  # no triggers, no foreign keys
            conn.execute(PEOPLE.encode())
            conn.execute(ROWS)
            worse = [make_worse(conn, *column) for column in conn.execute(TEXTS).fetchall()]
            assert sum(worse) > 100
        yield dsn


def make_worse(conn: Connection, schema: str, table: str, column: str, kind: str) -> bool:
    """Append it to all values of a column, so that what refers to them still does; not where a CHECK refuses it."""
    if table in OF_THE_OWNER or column in OF_WORKERS:
        return False
    statement = SQL(WORSE[kind]).format(table=Identifier(schema, table), column=Identifier(column))
    try:
        with conn.transaction():
            conn.execute(statement, {"text": HOSTILE, "json": Jsonb({HOSTILE: [HOSTILE]})})
    except psycopg.Error:
        return False
    return True


@pytest.fixture
def pgfleet(hostile: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Pgfleet:
    pgfleet = Pgfleet(hostile, monkeypatch, capsys)
    monkeypatch.setenv("PGFLEET_USER", f"ada{HOSTILE}")
    return pgfleet


# A row of each, by the beginning of the command; and what options take where the least will not do.
ROW_OF = {
    "disk": f"d{HOSTILE}",
    "users": "auth0|123",
    "usage": f"auth0|123{HOSTILE}",
    "hopsworks": "us-east",
    "nodes": f"n{HOSTILE}",
    "cluster": "ours",
    "": "r2",
}
NOT_HERE = ("demo", "up", "worker", "serve", "login", "logout", "migrate", "db", "simulate")


def leaves(command: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    below = getattr(command, "commands", None)
    if below is None:
        yield path, command
    for name, one in (below or {}).items():
        yield from leaves(one, (*path, name))


HERE = [name for name in COMMANDS if name not in NOT_HERE]
EVERY = {path: leaf for name in HERE for path, leaf in leaves(load(COMMANDS[name]), (name,))}


def given(path: tuple[str, ...], leaf: Any) -> list[str]:
    """The least that the command takes: a text leads to a hostile row, or is hostile itself."""
    row = next(row for start, row in ROW_OF.items() if path[0].startswith(start))
    told = []
    for parameter in leaf.params:
        is_text = parameter.bare_type() == "str"
        if parameter.param_type_name == "argument":
            told += [row if is_text else "1"]
        elif parameter.required:
            told += [parameter.opts[-1], HOSTILE if is_text else "1"]
        elif parameter.name in ("once", "yes"):
            told += [parameter.opts[-1]]
    return told


@pytest.mark.parametrize("path", EVERY, ids=" ".join)
def test_no_command_shows_what_a_terminal_obeys(pgfleet: Pgfleet, path: tuple[str, ...]) -> None:
    ended = pgfleet(*path, *given(path, EVERY[path]))

    said = ended.out + ended.err
    assert {letter for letter in said if not letter.isprintable()} <= {"\n"}
    assert len(AS_WRITTEN.findall(said)) == said.count("forged")
    if path != ("logs",):  # what a pod wrote has lines of its own
        assert not any(line.startswith("forged") for line in said.splitlines())


def test_json_shows_no_letter_that_a_terminal_obeys(capsys: pytest.CaptureFixture[str]) -> None:
    every = [letter for letter in map(chr, range(0x110000)) if category(letter) in ("Cc", "Cf", "Zl", "Zp")]

    print_json(every)

    shown = capsys.readouterr().out
    assert shown.strip().isprintable()
    assert json.loads(shown) == every
