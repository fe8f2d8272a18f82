"""No statement that is asked again and again reads all of a large table, or more pages than it has a use for."""

from pathlib import Path
from typing import NamedTuple

import pytest

from plans.asked import ASKED, FILES, FILES_NOT_ASKED, NOT_ASKED, SOME, Asked
from plans.exceptions import EXCEPTIONS, Allowed
from worlds.database import Connection
from worlds.fleet import REPOSITORY

FEW_PAGES, LARGE_PAGES = 1_500, 500
READ = """
select coalesce(sum(pg_stat_get_xact_blocks_fetched(c.oid)), 0)::bigint,
  coalesce(jsonb_object_agg(c.oid::regclass::text, pg_stat_get_xact_numscans(c.oid))
    filter (where c.relkind = 'r' and pg_stat_get_xact_numscans(c.oid) > 0), '{}')
from pg_class c
where c.relkind in ('r', 'i', 't') and c.relnamespace not in ('pg_catalog'::regnamespace, 'pg_toast'::regnamespace)
"""
SIZES = "select oid::regclass::text, pg_relation_size(oid) / 8192 from pg_class where relkind = 'r'"


class Cost(NamedTuple):
    """Pages that were looked at, by whatever was called; and how often all of each table was."""

    pages: int
    whole: dict[str, int]


def cost(conn: Connection, asked: Asked) -> Cost:
    """Of the second time: the first of a session looks up what it calls."""
    for _ in range(2):
        with conn.transaction(force_rollback=True):
            before = _read(conn)
            asked.ask(conn)
            after = _read(conn)
    scans = {table: number - before.whole.get(table, 0) for table, number in after.whole.items()}
    return Cost(after.pages - before.pages, {table: number for table, number in scans.items() if number})


def _read(conn: Connection) -> Cost:
    row = conn.execute(READ, prepare=False).fetchone()
    assert row is not None
    return Cost(*row)


def explained(conn: Connection, asked: Asked) -> str:
    """The plan of a statement, for whoever has to mend it."""
    if asked.statement is None:
        return "(several statements)"
    with conn.transaction(force_rollback=True):
        rows = conn.execute(b"explain (analyze, buffers) " + asked.statement, asked.given, prepare=False).fetchall()
    return "\n".join(row[0] for row in rows)


@pytest.mark.parametrize("name", ASKED)
def test_a_statement_reads_no_more_than_it_has_a_use_for(session: Connection, name: str) -> None:
    sizes: dict[str, int] = dict(session.execute(SIZES).fetchall())
    allowed = EXCEPTIONS.get(name, Allowed(""))

    found = cost(session, ASKED[name])

    too_often = {
        table: times
        for table, times in found.whole.items()
        if sizes.get(table, 0) > LARGE_PAGES and times > allowed.whole.get(table, 0)
    }
    assert too_often == {}, explained(session, ASKED[name])
    if allowed.pages is not None:
        most = FEW_PAGES + allowed.pages + sum(2 * sizes[table] * times for table, times in allowed.whole.items())
        assert found.pages <= most, explained(session, ASKED[name])


def test_every_file_of_statements_is_asked_or_has_its_reason() -> None:
    there = {
        str(path.relative_to(REPOSITORY))
        for place in ("schema/*/", "producers", "workers", "console")
        for folder in REPOSITORY.glob(place)
        for path in folder.rglob("*.sql")
    }

    assert there == {*FILES, *SOME, *FILES_NOT_ASKED}


def test_exceptions_are_of_what_is_asked() -> None:
    assert [name for name in EXCEPTIONS if name not in ASKED] == []
    text = "".join(Path(REPOSITORY, file).read_text("utf-8") for file in FILES)
    assert [name for name in NOT_ASKED if f"-- name: {name}\n" not in text] == []
