"""Databases of tests that are used again: as if they were new, or gone."""

from urllib.parse import urlsplit

import psycopg
import pytest

from worlds.again.databases import COUNTS_FROM, Databases
from worlds.database import comparable, dump

WRITTEN = """
select pgmq.send('gpu_reservations', '{}') from generate_series(1, 3);
insert into public.disks (disk_name, user_id, size_gb) values ('data', 'ada', 10);
update public.disks set size_gb = 20;
delete from public.periodic where name = 'reservation.sweep';
create or replace function public.fleet_now() returns timestamptz language sql stable parallel safe
as $$ select statement_timestamp() + interval '1 hour' $$;
"""
MADE = [
    "create table public.more (id integer)",
    "alter table public.disks add column more text",
    "drop index public.outages_open_idx",
    "grant select on public.disks to public",
    "alter table public.reservations disable trigger log_moves",
    "truncate public.periodic",
    "do $$ begin execute format('alter database %I set timezone to ''UTC''', current_database()); end $$",
]


@pytest.fixture
def lender(server_dsn: str, template: str) -> Databases:
    return Databases(server_dsn, template)


def test_what_was_written_is_taken_back(lender: Databases) -> None:
    with lender.lent() as first:
        as_new = comparable(dump(first))
        with psycopg.connect(first, autocommit=True) as conn:
            if conn.info.server_version < COUNTS_FROM:
                return
            conn.execute(WRITTEN)
            assert comparable(dump(first)) != as_new

    with lender.lent() as again:
        assert (again, comparable(dump(again))) == (first, as_new)
    lender.close()


@pytest.mark.parametrize("made", MADE)
def test_who_did_more_than_to_write_rows_leaves_nothing(lender: Databases, made: str) -> None:
    with lender.lent() as first, psycopg.connect(first, autocommit=True) as conn:
        conn.execute(made.encode())

    with psycopg.connect(lender.server_dsn) as admin:
        name = urlsplit(first).path.removeprefix("/")
        assert admin.execute("select from pg_database where datname = %s", (name,)).fetchall() == []
    assert lender.free == []
