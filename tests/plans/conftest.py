"""A database that was analyzed empty and is full since, and a session whose plans are of before."""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from pgfleet.schema.database.sessions import open_session
from plans.asked import ASKED
from worlds.database import Connection, fresh_database

CROWD = Path(__file__).parents[1] / "worlds" / "crowd.sql"
BIG = Path(__file__).with_name("big.sql")
# Of ten million moves, a million messages that wait and 300,000 that are delayed.
SCALE = float(os.environ.get("PGFLEET_PLAN_SCALE", "0.1"))
OURS = "'public', 'pgmq', 'hopsworks', 'autoscaler', 'clusters'"
NEVER_ANALYZED = f"""
do $$
declare
  t regclass;
begin
  for t in select oid::regclass from pg_class where relkind = 'r' and relnamespace::regnamespace::text in ({OURS}) loop
    execute format('alter table %s set (autovacuum_enabled = off)', t);
  end loop;
end
$$
"""
# From the fifth time on a plan may be kept.
TIMES = 8


@dataclass(frozen=True)
class Fleet:
    """`kept` has plans of when all was empty; `fresh` plans anew."""

    kept: Connection
    fresh: Connection


@pytest.fixture(scope="session")
def fleet(server_dsn: str, template: str) -> Iterator[Fleet]:
    with fresh_database(server_dsn, template) as dsn, ExitStack() as stack:
        kept, fresh = (
            stack.enter_context(
                open_session(dsn, autocommit=True, longest_s=1800, writes=True, prepare_threshold=threshold)
            )
            for threshold in (5, None)
        )
        fresh.execute(NEVER_ANALYZED.encode())
        fresh.execute("analyze")
        for asked in ASKED.values():
            for _ in range(TIMES):
                with kept.transaction(force_rollback=True):
                    asked.ask(kept)
        fresh.execute(
            "create function pg_temp.rows(n integer) returns setof integer language sql"
            f" as 'select generate_series(1, greatest(1, (n * {SCALE})::integer))'".encode()
        )
        for file in (CROWD, BIG):
            fresh.execute(file.read_bytes())
        yield Fleet(kept, fresh)


@pytest.fixture(scope="session", params=["kept", "stale", "held", "known"])
def session(request: pytest.FixtureRequest, fleet: Fleet) -> Iterator[Connection]:
    """Plans that are kept; statistics of before; an old snapshot held while messages are written; all known."""
    if request.param == "held":
        with open_session(fleet.fresh.info.dsn, longest_s=1800, writes=True) as holder:
            holder.execute("set transaction isolation level repeatable read")
            holder.execute("select count(*) from public.gpu_types")
            for _ in range(4):
                fleet.fresh.execute("update pgmq.q_gpu_reservations set read_ct = read_ct where msg_id % 40 = 0")
            yield fleet.fresh
        return
    if request.param == "known":
        fleet.fresh.execute("analyze")
    yield fleet.kept if request.param == "kept" else fleet.fresh
