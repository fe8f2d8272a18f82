"""The SQL files: tables below 100; functions, triggers and views from 100 on, one body each."""

import re
from collections import Counter

import pytest

from pgfleet.schema.database.catalog import SqlFile, functions, sql_files, views
from worlds.database import Connection

# No table can be made without these: defaults and CHECK constraints call them.
BEFORE_TABLES = {"public.fleet_now", "public.move_actor", "public.refuse_value"}
FILES = sql_files()
LATER = [file for file in FILES if file.may_change and file.version.startswith("schema/")]
OURS = """
  select n.nspname || '.' || p.proname from pg_proc p join pg_namespace n on n.oid = p.pronamespace
  where n.nspname in ('public', 'hopsworks', 'autoscaler', 'clusters')
  union
  select n.nspname || '.' || c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
  where c.relkind = 'v' and n.nspname in ('public', 'hopsworks', 'autoscaler', 'clusters')
"""


def test_a_function_or_view_has_one_body_in_one_file() -> None:
    made = Counter(name for file in FILES for kind in ("function", "view") for name in file.made(kind))

    assert [name for name, bodies in made.items() if bodies > 1] == []


def test_what_is_found_in_the_files_is_what_the_database_has(conn: Connection) -> None:
    found = {name for name in (*functions(), *views()) if not name.startswith("pgmq.")}
    # What each queue and each machine has of its own is made with it.
    of_each = re.compile(r"public\.(claim|ring_for|log_new)_")

    assert found == {name for (name,) in conn.execute(OURS.encode()) if name in found or not of_each.match(name)}


def test_below_100_there_are_only_the_functions_without_which_no_table_can_be_made() -> None:
    below = [file for file in FILES if not file.may_change]

    assert {name for file in below for name in file.made("function")} == BEFORE_TABLES
    assert [file.version for file in below if re.search(r"(?mi)^create .*\b(trigger|view)\b", file.text)] == []


@pytest.mark.parametrize("file", LATER, ids=lambda file: file.version)
def test_from_100_on_every_function_says_what_it_is_for_and_every_file_can_be_applied_again(file: SqlFile) -> None:
    silent = re.findall(
        r"(?m)^(?!--|drop).*\n(?:drop.*\n)?create (?:or replace )?(?:function|view) ([\w.]+)", file.text
    )

    assert silent == []
    once = re.findall(
        r"(?mi)^create (?!or replace|index if not exists|unique index if not exists)(?:view )?(.*)", file.text
    )
    names = [re.split(r"[ (]", thing.removeprefix("function "))[0] for thing in once]
    assert [name for name in names if not re.search(rf"drop (view|function) if exists {name}[;(]", file.text)] == []
    assert re.findall(r"(?mi)^(?:create table|alter table|insert|update|delete)\b.*", file.text) == []
