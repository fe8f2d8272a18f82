"""The database that a bench makes for itself, on a durable server, with a small machine of its own."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import sqlalchemy as sa
from psycopg.sql import SQL, Identifier

from pgfleet.console.local import embedded
from pgfleet.schema.database.dsn import at_database, redact
from pgfleet.schema.database.migrate import migrate
from pgfleet.schema.database.sessions import open_session
from pgfleet.schema.queue.kernel import Connection

QUEUE = "bench_jobs"

metadata = sa.MetaData(schema="public")
jobs = sa.Table(
    "bench_jobs",
    metadata,
    sa.Column("job_id", sa.BigInteger, primary_key=True),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("status_reason", sa.Text),
    sa.Column("status_msg_id", sa.BigInteger),
    # On the clock that all processes of a machine share.
    sa.Column("started_ns", sa.BigInteger),
)

SET_UP = """
create table public.bench_jobs (
  job_id bigint primary key,
  status text not null,
  status_reason text,
  status_msg_id bigint,
  started_ns bigint
);
insert into public.moves values
  ('bench_job', '(new)', 'ready', ''), ('bench_job', 'ready', 'done', '');
select public.guard_machine('public.bench_jobs', 'bench_job', 'job_id');
select public.create_queue('bench_jobs');
select public.ring_on_send('bench_jobs');
select public.make_claim('bench_jobs');
"""

# Rows done, moves in the history, messages left, dead letters.
CHECK = """
select
  (select count(*) from public.bench_jobs where status = 'done'),
  (select count(*) from public.status_history where machine = 'bench_job' and to_status = 'done'),
  (select count(*) from pgmq.q_bench_jobs),
  (select count(*) from public.dead_letters where queue = 'bench_jobs')
"""

FILL = """
truncate public.bench_jobs, pgmq.q_bench_jobs;
delete from public.status_history where machine = 'bench_job';
insert into public.bench_jobs (job_id, status) select n, 'ready' from generate_series(1, %(jobs)s) n;
insert into pgmq.q_bench_jobs (vt, message)
select statement_timestamp(), jsonb_build_object('action', 'finish', 'job_id', n)
from generate_series(1, %(jobs)s) n;
"""


@contextmanager
def temporary(server: str | None = None) -> Iterator[str]:
    """The DSN of a new, migrated database with the bench's machine; dropped afterwards.

    On that server; else on that of DATABASE_URL if that is set, else on the embedded one with its own durable settings.
    """
    server = server or os.environ.get("DATABASE_URL") or embedded.start(embedded.default_data_dir())
    name = f"pgfleet_bench_{uuid.uuid4().hex[:8]}"
    with open_session(server, autocommit=True) as conn:
        conn.execute(SQL("create database {}").format(Identifier(name)))
    dsn = at_database(server, name)
    try:
        migrate(dsn)
        with open_session(dsn, autocommit=True) as conn:
            for setting in ("fsync", "synchronous_commit", "full_page_writes"):
                _must_be_on(conn, setting)
            conn.execute(SET_UP)
        yield dsn
    finally:
        with open_session(server, autocommit=True) as conn:
            conn.execute(SQL("drop database {} with (force)").format(Identifier(name)))


def fill(conn: Connection, number: int) -> None:
    """A fresh queue of `number` messages, one a row, as after a quiet vacuum."""
    for statement in FILL.strip().split(";\n"):
        conn.execute(statement.encode(), {"jobs": number} if "%(" in statement else None)
    conn.execute("vacuum analyze public.bench_jobs")
    conn.execute("vacuum analyze pgmq.q_bench_jobs")
    conn.execute("checkpoint")


def _must_be_on(conn: Connection, setting: str) -> None:
    row = conn.execute("select current_setting(%s)", (setting,)).fetchone()
    if row is None or row[0] != "on":
        raise SystemExit(f"{setting} is off: a bench without durability says nothing")


def where(dsn: str) -> str:
    return f"{redact(dsn)} on {os.cpu_count()} cores, {Path('/proc/loadavg').read_text().split()[0]} load"


def wal_bytes(conn: Connection) -> int:
    """All WAL that the server has ever written."""
    row = conn.execute("select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint").fetchone()
    assert row is not None
    return int(row[0])


def server_cpu_s(conn: Connection) -> float:
    """All processes of the server, also those that have ended, on a machine of its own; NaN where it is elsewhere."""
    row = conn.execute("select pid from pg_stat_activity where backend_type = 'checkpointer'").fetchone()
    try:
        server = psutil.Process(row[0]).parent() if row else None
        everything = [server, *server.children(recursive=True)] if server else []
        ended = server.cpu_times().children_user + server.cpu_times().children_system if server else float("nan")
        return float(ended + sum(sum(each.cpu_times()[:2]) for each in everything))
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return float("nan")
