"""A migration while all work at full speed: it waits for no lock for long, and nobody waits for it."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

import psycopg
import pytest

from pgfleet.console.local.first_key import serving_dsn
from pgfleet.schema.database import migrate as migrating
from pgfleet.schema.database.migrate import LONGEST_WAIT_S, migrate
from pgfleet.schema.identity import accounts, keys
from upgrades.load import LEFT, Load, Watched, left_open, load
from upgrades.versions import Version, as_if_all_had_changed, migrated_by
from worlds.api.program import program
from worlds.database import Connection, temporary_folder
from worlds.fleet import REPOSITORY, kill, until, worker_environment
from worlds.small.kind import SET_UP

TIMES = 3
# As for a look at who waits, which itself may have to wait for a processor.
SLACK_S = 0.25
LACKED = "constraint public.reservations.reservations_gpus_held_check"
FORGET = "update public.schema_migrations set checksum = 'of before' where version = any (%s)"
DOUBLED = "select row_id from public.status_history where machine = 'small_job' group by row_id having count(*) > 1"
# What a request is told that has waited for too long: it was not done, and may be sent again.
AWAY = "urn:pgfleet:problem:database-away"
MADE = "select job_id from public.small_jobs"
PLACES = os.pathsep.join(str(REPOSITORY / path) for path in (".", "tests"))


@pytest.fixture
def conn(dsn: str) -> Iterator[Connection]:
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute(SET_UP)
        conn.execute("update public.policies set most = 1000000")
        yield conn


@contextmanager
def all_at_work(dsn: str, conn: Connection) -> Iterator[Load]:
    """Two workers that always have something to do, and an API that is asked all the time."""
    accounts.add(conn, "ada@example.org", username="ada")
    key = keys.make(conn, "ada", hours=1).key
    command = [sys.executable, "-m", "dramatiq", "recovery.served", "-p", "1", "-t", "2"]
    with ExitStack() as stack:
        effects = stack.enter_context(temporary_folder())
        environment = worker_environment(dsn, None, log_level="warning") | {
            "PYTHONPATH": PLACES,
            "EFFECTS": str(effects),
        }
        for _ in range(2):
            worker = subprocess.Popen(command, env=environment, cwd=REPOSITORY, start_new_session=True)
            stack.callback(kill, worker)
        api = stack.enter_context(program(serving_dsn(conn, dsn), PGFLEET_LOG_LEVEL="error"))
        going = stack.enter_context(load(dsn, api.url, key))
        until(lambda: len(conn.execute(MADE).fetchall()) > 100, what="workers at full speed")
        yield going
        going.ended.set()
        until(lambda: conn.execute(LEFT).fetchone() == (0,), what="an empty queue")


def test_all_functions_are_made_anew_under_load_and_nobody_waits(
    dsn: str, conn: Connection, record_property: Callable[[str, object], None]
) -> None:
    lasted_s: list[float] = []
    with all_at_work(dsn, conn) as going:
        before = claims_in_a_while(going)
        for _ in range(TIMES):
            conn.execute(FORGET, (as_if_all_had_changed(),))
            began = time.monotonic()
            applied = migrate(dsn)
            lasted_s.append(time.monotonic() - began)
            assert {each.version for each in applied} == set(as_if_all_had_changed())
        seen = going.seen

    tell(record_property, before, seen, lasted_s)
    assert seen.wrong == []
    assert seen.migrator_waits_s <= LONGEST_WAIT_S + SLACK_S
    assert seen.others_wait_s <= LONGEST_WAIT_S + SLACK_S, seen.others
    assert seen.claim_s <= LONGEST_WAIT_S + before.claim_s
    made = {row[0] for row in conn.execute(MADE)}
    assert set(seen.sent) <= made
    assert conn.execute(DOUBLED).fetchall() == []


def test_the_next_version_changes_a_table_under_load_and_no_claim_waits(
    dsn: str, conn: Connection, newer: Version, record_property: Callable[[str, object], None]
) -> None:
    """Who writes that table waits until the migration has ended: how long that is, is told and not judged."""
    with all_at_work(dsn, conn) as going:
        before = claims_in_a_while(going)
        began = time.monotonic()
        migrated_by(newer, dsn)
        lasted_s = time.monotonic() - began
        seen = going.seen

    tell(record_property, before, seen, [lasted_s])
    assert refused(seen) == []
    assert seen.migrator_waits_s <= LONGEST_WAIT_S + SLACK_S
    assert seen.claim_s <= LONGEST_WAIT_S + before.claim_s


def refused(seen: Watched) -> list[str]:
    """But for who has waited for a table that was altered until the migration had ended."""
    return [each for each in seen.wrong if AWAY not in each]


def claims_in_a_while(going: Load) -> Watched:
    """How long a claim and a request take where nobody migrates, on this machine now."""
    until(lambda: going.seen.claims > 500 and going.seen.requests > 20, what="claims")
    before, going.seen.claim_s, going.seen.request_s = Watched(), 0.0, 0.0
    until(lambda: going.seen.claims > 2000 and going.seen.requests > 60, what="claims")
    before.claim_s, before.request_s = going.seen.claim_s, going.seen.request_s
    going.seen.claim_s = going.seen.request_s = 0.0
    return before


def tell(record: Callable[[str, object], None], before: Watched, seen: Watched, lasted_s: list[float]) -> None:
    told = (
        f"{len(lasted_s)} migrations of {max(lasted_s):.1f} s at most: a claim took {seen.claim_s:.3f} s at most "
        f"({before.claim_s:.3f} without one), a request {seen.request_s:.3f} s ({before.request_s:.3f}); who migrates "
        f"waited {seen.migrator_waits_s:.3f} s for a lock, others {seen.others_wait_s:.3f} s for that one "
        f"({seen.others})"
    )
    record("figures", told)
    print(told)  # noqa: T201  # figures


def test_who_reads_for_long_keeps_the_migration_waiting_and_nobody_behind_it(
    dsn: str, conn: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It asks for the lock again and again, and lets go of all that it holds in between."""
    tries, once = [], migrating._migrate  # noqa: SLF001  # to count them

    def counted(*given: Any, **more: Any) -> Any:
        tries.append(1)
        return once(*given, **more)

    monkeypatch.setattr(migrating, "_migrate", counted)
    with all_at_work(dsn, conn) as going, ThreadPoolExecutor() as pool:
        # Who starts would refuse to without.
        conn.execute("alter table public.reservations drop constraint reservations_gpus_held_check")
        with left_open(dsn, "public.reservations"):
            applied = pool.submit(migrate, dsn)
            until(lambda: len(tries) >= 2, what="a second try")
            behind_s, behind = going.seen.others_wait_s, going.seen.others
        assert [each.version for each in applied.result()] == [LACKED]
        seen = going.seen

    assert refused(seen) == []
    assert 0 < seen.migrator_waits_s <= LONGEST_WAIT_S + SLACK_S
    assert behind_s <= LONGEST_WAIT_S + SLACK_S, behind
