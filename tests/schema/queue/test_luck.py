"""The kernel's statements read what they are about, whatever the planner believes: it may have seen an empty table."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from pgfleet.schema.database.catalog import sql_files
from pgfleet.schema.queue import claims, kernel
from pgfleet.schema.queue.kernel import Outgoing, Token
from pgfleet.schema.rows import kernel as row_kernel
from pgfleet.schema.rows.row import ask_rows, rows_of
from worlds.database import fresh_database
from worlds.fleet import Connection
from worlds.small.kind import QUEUE, SET_UP, jobs

LEASE = timedelta(seconds=90)
FULL, BATCH = 10_000, 100
# What walks over a table of so many rows reads more.
MOST_ROWS = 5 * BATCH
TABLES = ("pgmq.q_small_jobs", "public.small_jobs")

FILL = f"""
insert into pgmq.q_small_jobs (vt, read_ct, message)
  select public.fleet_now() - n * interval '1 ms', 1, to_jsonb(repeat('x', 300)) from generate_series(1, {FULL}) n;
insert into public.small_jobs (job_id, status, big) select n, 'ready', repeat('x', 300)
  from generate_series(1, {FULL}) n;
"""
READ = """
select coalesce(sum(seq_tup_read + idx_tup_fetch), 0)::bigint
from pg_stat_xact_user_tables where relid = any (%s::regclass[])
"""


@dataclass(frozen=True)
class Batch:
    """What a statement is about."""

    conn: Connection
    tokens: list[Token]
    version: str

    def put_back(self) -> Any:
        number = len(self.tokens)
        return kernel.put_back(self.conn, QUEUE, self.tokens, [LEASE] * number, [None] * number)

    def move(self) -> Any:
        return row_kernel.move_rows(self.conn, jobs, ["weight"], [(key, self.version, 1) for key in KEYS])


KEYS = list(range(1, BATCH + 1))
STATEMENTS: dict[str, Callable[[Batch], Any]] = {
    "claim": lambda batch: claims.claim(batch.conn, QUEUE, BATCH, LEASE),
    "extend": lambda batch: kernel.extend(batch.conn, QUEUE, batch.tokens, LEASE),
    "put back": Batch.put_back,
    "delete": lambda batch: kernel.delete(batch.conn, QUEUE, batch.tokens),
    "load rows": lambda batch: rows_of(jobs, ask_rows(batch.conn, jobs, KEYS)),
    "lock rows": lambda batch: row_kernel.lock_rows(batch.conn, jobs, KEYS),
    "move rows": Batch.move,
}


def _analyzed_while_empty(conn: Connection) -> None:
    """The planner expects one row from then on, however many pages there are."""
    conn.execute(FILL.encode())
    for table in TABLES:
        conn.execute(f"delete from {table}".encode())
        conn.execute(f"vacuum (analyze, truncate off) {table}".encode())


def _asked_while_empty(conn: Connection) -> None:
    """A plan that is kept was made for a table without a page."""
    for table in TABLES:
        conn.execute(f"vacuum (analyze) {table}".encode())
    for ask in STATEMENTS.values():
        for _ in range(12):
            ask(Batch(conn, [Token(1, 1)], "0"))


@pytest.fixture(
    scope="module",
    params=[_analyzed_while_empty, _asked_while_empty],
    ids=["analyzed while empty", "asked while empty"],
)
def unlucky(server_dsn: str, template: str, request: pytest.FixtureRequest) -> Iterator[Connection]:
    """A queue and a table that are full, and that the planner believes to be empty."""
    with fresh_database(server_dsn, template) as dsn, psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute(SET_UP)
        for table in TABLES:
            conn.execute(f"alter table {table} set (autovacuum_enabled = off)".encode())
        conn.execute("alter table public.small_jobs disable trigger user")
        request.param(conn)
        conn.execute(FILL.encode())
        yield conn


def _batch(conn: Connection) -> Batch:
    due = f"select msg_id, read_ct from pgmq.q_small_jobs order by vt limit {BATCH}"
    version = conn.execute("select xmin::text from public.small_jobs where job_id = 1").fetchone()
    assert version is not None
    return Batch(conn, [Token(*row) for row in conn.execute(due.encode()).fetchall()], version[0])


def _rows_read(conn: Connection) -> int:
    row = conn.execute(READ, (list(TABLES),)).fetchone()
    assert row is not None
    return int(row[0])


@pytest.mark.parametrize("name", STATEMENTS)
def test_a_batch_reads_its_own_messages_and_rows_only(unlucky: Connection, name: str) -> None:
    batch = _batch(unlucky)

    with unlucky.transaction(force_rollback=True):
        before = _rows_read(unlucky)
        STATEMENTS[name](batch)
        read = _rows_read(unlucky) - before

    assert BATCH <= read <= MOST_ROWS


def test_a_send_looks_at_what_has_just_become_due(unlucky: Connection) -> None:
    with unlucky.transaction(force_rollback=True):
        before = _rows_read(unlucky)
        kernel.send(unlucky, QUEUE, [Outgoing({})])
        read = _rows_read(unlucky) - before

    assert read <= BATCH


def test_a_queue_with_an_index_of_an_older_kind_gets_ours(conn: Connection) -> None:
    conn.execute(SET_UP)
    conn.execute("drop index pgmq.q_small_jobs_claim_idx")
    conn.execute("create index q_small_jobs_claim_idx on pgmq.q_small_jobs (vt, msg_id)")

    conn.execute(next(file.text for file in sql_files() if file.version == "schema/105_door").encode())

    found = conn.execute("select pg_get_indexdef('pgmq.q_small_jobs_claim_idx'::regclass)").fetchone()
    assert found is not None
    assert found[0].endswith("(vt, ((msg_id + 0)))")
