"""DATABASE.md shows the database that the program makes."""

import re

import pytest

from pgfleet.console.diagram import PAGE, SCHEMAS, render, type_word
from worlds.fleet import Connection

TABLES = """
  select n.nspname, c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
  where n.nspname = any(%s) and c.relkind in ('r', 'p') and not c.relispartition
"""


def test_the_page_is_that_of_the_migrated_database(conn: Connection) -> None:
    assert PAGE.read_text(encoding="utf-8") == render(conn), "run: make generated"


def test_every_table_is_drawn_once_in_its_schema(conn: Connection) -> None:
    drawn = [
        (schema, table)
        for schema, diagram in diagrams(render(conn), "##", "erDiagram")
        for table in re.findall(r"(?m)^  (\w+) \{$", diagram)
    ]

    assert sorted(drawn) == sorted(conn.execute(TABLES, (list(SCHEMAS),)).fetchall())


def test_every_move_is_drawn_in_its_machine(conn: Connection) -> None:
    drawn = {
        (machine, from_status.replace("[*]", "(new)"), to_status)
        for machine, diagram in diagrams(render(conn), "###", "stateDiagram-v2")
        for from_status, to_status in re.findall(r"(?m)^  (\S+) --> (\S+) : [^:;\n]+$", diagram)
    }

    assert drawn == set(conn.execute("select machine, from_status, to_status from public.moves").fetchall())


def test_every_foreign_key_is_drawn(conn: Connection) -> None:
    conn.execute("create table hopsworks.novel (a text, disk uuid not null unique references public.disks (disk_id))")

    page = render(conn)

    assert page.count('\n  public_disks["public.disks"]\n') == 1
    assert '\n  novel |o--|| public_disks : "disk"\n' in page
    assert "\n    uuid disk FK, UK\n" in page


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("character varying(255)", "varchar(255)"),
        ("timestamp with time zone", "timestamptz"),
        ("numeric(10,2)", "numeric(10_2)"),
        ("text[]", "text[]"),
        ("autoscaler.node_status", "node_status"),
    ],
)
def test_a_type_is_one_word(name: str, word: str) -> None:
    assert type_word(name) == word


def diagrams(page: str, level: str, kind: str) -> list[tuple[str, str]]:
    """The headings of a kind of diagram, and what each draws."""
    return re.findall(rf"(?ms)^{level} (\w+)\n\n```mermaid\n{kind}\n(.*?)^```$", page)
