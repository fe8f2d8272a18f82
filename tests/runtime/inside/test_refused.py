"""What the database can't do, whatever is asked of it: no message is to blame, and none is lost or counted."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from structlog.testing import capture_logs

from worlds.fleet import move_clock, settings_for, worker_on
from worlds.small.kind import do, small_kind
from worlds.small.world import Small

# A page that can't be read, an index that is broken, what this server can't do, a type that is not there.
BROKEN = ["XX000", "XX001", "XX002", "0A000", "42704"]
# A table, a column, a function that is not there, as in the middle of a migration.
LACKING = ["42P01", "42703", "42883"]


@contextmanager
def refusing(small: Small, when: str, code: str) -> Iterator[None]:
    """Moves of rows are answered with an error of this code."""
    small.conn.execute(
        f"""
        create function public.refuse() returns trigger language plpgsql as $$
        begin
          if {when} then raise exception 'a page can not be read' using errcode = '{code}'; end if;
          return new;
        end $$;
        create trigger refuse before update on public.small_jobs for each row execute function public.refuse();
        """.encode()
    )
    try:
        yield
    finally:
        small.conn.execute("drop function if exists public.refuse() cascade")


@pytest.mark.parametrize("code", BROKEN)
def test_what_it_can_not_write_waits_uncounted_and_the_rest_is_written(small: Small, code: str) -> None:
    for job_id in (1, 2, 3):
        small.send(do(small.job(job_id)))

    with refusing(small, "new.job_id = 2", code), capture_logs() as logs:
        for _ in range(5):
            small.worker.run_once()
            move_clock(small.conn, 600)
        during = [small.status(job_id) for job_id in (1, 2, 3)]
        (left,) = small.queue()
        counted = small.headers(left)["pgfleet"]["attempts"]
    small.worker.run_once()

    assert during == ["running", "ready", "running"]
    assert (counted, small.status(2), small.letters(), small.queue()) == (0, "running", [], [])
    told = [line for line in logs if line["event"] == "database.refuses"]
    assert [(line["doing"], line["code"]) for line in told] == [("write rows", code)]


def test_what_it_can_not_write_is_known_until_it_can(small: Small) -> None:
    small.send(do(small.job(1)))

    with refusing(small, "true", "XX001"), capture_logs() as logs:
        small.worker.run_once()
        (problem,) = small.worker.running.trouble.problems()
        pause_s = small.worker.running.trouble.pause_s()
    early = [line["event"] for line in logs if line["event"] == "database.works"]
    move_clock(small.conn, 60)
    small.worker.run_once()

    assert "can't write rows" in problem
    assert (pause_s > 0, early) == (True, [])
    assert small.worker.running.trouble.problems() == []


@pytest.mark.parametrize("code", LACKING)
def test_where_something_is_lacking_all_waits_until_it_is_there(small: Small, code: str) -> None:
    for job_id in (1, 2, 3):
        small.send(do(small.job(job_id)))

    with refusing(small, "true", code):
        for _ in range(5):
            small.worker.run_once()
            move_clock(small.conn, 600)
        counted = {small.headers(msg_id)["pgfleet"]["attempts"] for msg_id in small.queue()}
    move_clock(small.conn, 600)
    small.worker.run_once()

    assert (counted, small.letters(), small.queue()) == ({0}, [], [])
    assert [small.status(job_id) for job_id in (1, 2, 3)] == ["running"] * 3


def test_a_function_that_is_dropped_and_made_again_loses_nothing(small: Small) -> None:
    """The real thing, as no code is made up here."""
    small.send(do(small.job(1)))

    small.conn.execute("alter function public.refuse_move rename to refused_move")
    try:
        for _ in range(5):
            small.worker.run_once()
            move_clock(small.conn, 600)
    finally:
        small.conn.execute("alter function public.refused_move rename to refuse_move")
    small.worker.run_once()

    assert (small.status(1), small.letters(), small.queue()) == ("running", [], [])


def test_a_step_that_can_not_be_said_to_begin_waits(small: Small) -> None:
    small.send(do(small.job(1)))
    small.conn.execute(
        """
        create function public.refuse() returns trigger language plpgsql as $$
        begin
          if new.headers #> '{pgfleet,begun}' is not null then
            raise exception 'a page can not be read' using errcode = 'XX001';
          end if;
          return new;
        end $$;
        create trigger refuse before update on pgmq.q_small_jobs for each row execute function public.refuse();
        """
    )
    with worker_on(small_kind(small.tools, effects=True), settings_for(small.dsn, backoff_s=5)) as worker:
        try:
            for _ in range(5):
                worker.run_once()
                move_clock(small.conn, 60)
            during = small.tools.seen[:], small.letters()
        finally:
            small.conn.execute("drop function public.refuse() cascade")
        worker.run_once()

    assert during == ([], [])
    assert (small.status(1), small.letters(), small.queue()) == ("running", [], [])
