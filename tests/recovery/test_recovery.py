"""How long no message is run after each way a server can go away; that none is lost, runs twice or leaves a trace."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from recovery.crew import Outcome
from recovery.measured import Span, all_that_ran, dead_rows, passed
from recovery.table import Measured
from recovery.ways import away, full, load, pooled, sessions, workers
from recovery.world import CONNECT_S, KEEPER, LISTENER, POOL, SILENCE_S, Case, world_of

UNDISTURBED_S = 4
LEASE_S = 10
# Of the comparison of queues: more messages than elsewhere, so that what is dead or slow shows.
BUSY_PER_S = 100.0
# What is told once, and then tried less and less often.
REFUSED_S = 31

# The longest first, as several run at once.
CASES: Mapping[str, Case] = {
    "server away for 150 s": Case(away.restarted("fast", 150)),
    "a transaction left open for 60 s": Case(
        sessions.idle_in_transaction(60), 5, goes_on=True, per_s=BUSY_PER_S, public="idle in transaction"
    ),
    "4 repeatable reads for 60 s": Case(
        sessions.read_repeatably(60), 5, goes_on=True, per_s=BUSY_PER_S, public="active readers"
    ),
    "a proxy passes nothing on for 60 s": Case(away.silent(60)),
    "sessions of the pool fall silent, new ones do not": Case(sessions.fall_silent(POOL), SILENCE_S + 20, goes_on=True),
    "open sessions stay silent, new ones do not": Case(away.open_sessions_stay_silent, SILENCE_S + 20),
    "server hangs, standby promoted (two hosts)": Case(
        away.hangs_and_standby_is_promoted, SILENCE_S + CONNECT_S + 20, has_standby=True, dsn="two hosts"
    ),
    "server hangs, address moves to the standby": Case(away.hangs_and_address_moves, SILENCE_S + 20, has_standby=True),
    "the listener's session falls silent, a new one does not": Case(sessions.fall_silent(LISTENER), 5, goes_on=True),
    "the keeper's session falls silent, a new one does not": Case(
        sessions.fall_silent(KEEPER),
        5,
        goes_on=True,
        keeps_leases=True,
        lasts_ms=20_000,
        per_s=1,
        settings={"lease_s": 15},
    ),
    "half as much again is sent for 30 s": Case(
        load.times(1.5, 30), 5, goes_on=True, per_s=BUSY_PER_S, public="sustained high load"
    ),
    "three times as much is sent for 20 s": Case(load.times(3, 20), 5, goes_on=True, per_s=BUSY_PER_S, public="burst"),
    "one of two workers killed, another after 5 s": Case(
        workers.one_is_killed(5),
        LEASE_S + 1,
        longest=True,
        per_s=50,
        lasts_ms=100,
        settings={"lease_s": LEASE_S},
        public="crash of a worker",
    ),
    "one of two workers killed every 5 s, six times": Case(
        workers.one_is_killed_all_the_time(6, 5),
        # Two deaths; after each, all that was in hand runs alone, one message after the other.
        2 * (LEASE_S + 2),
        longest=True,
        per_s=50,
        lasts_ms=100,
        settings={"lease_s": LEASE_S},
        public="repeated kills of workers",
    ),
    "all connections taken for 20 s, and workers' sessions ended": Case(sessions.all_are_taken(20), max_connections=40),
    "all other connections taken for 20 s": Case(
        sessions.all_others_are_taken(20),
        5,
        goes_on=True,
        max_connections=40,
        per_s=BUSY_PER_S,
        public="pool exhausted",
    ),
    "server away for 30 s": Case(away.restarted("fast", 30)),
    "server restarted": Case(away.restarted("fast"), per_s=BUSY_PER_S, public="restart of PostgreSQL"),
    "server crashed": Case(away.restarted("immediate")),
    "server killed (SIGKILL of the postmaster)": Case(away.killed),
    "server hangs for 20 s (SIGSTOP)": Case(away.hangs(20)),
    "server read-only for 20 s": Case(away.read_only(20)),
    "server turns read-only, standby promoted (two hosts)": Case(
        away.turns_read_only, has_standby=True, dsn="two hosts"
    ),
    "address leads to a standby for 5 s": Case(away.address_leads_to_a_standby, has_standby=True),
    "all sessions ended twice a second for 20 s": Case(
        sessions.ended_all_the_time(20), 5, goes_on=True, per_s=BUSY_PER_S, public="kills of backends"
    ),
    "disk of the data full for 20 s": Case(full.data(20), REFUSED_S, disk="data"),
    "disk of the WAL full until somebody makes room": Case(full.wal, disk="wal"),
    "pooler killed, another after 5 s": Case(pooled.restarted(5), dsn="pooler"),
    "all sessions of the pooler ended twice a second for 20 s": Case(
        sessions.ended_all_the_time(20), 5, goes_on=True, dsn="pooler"
    ),
    "a copy of before is restored": Case(away.restored),
}


@pytest.mark.parametrize("name", CASES)
def test_messages_run_again_none_is_lost_none_runs_twice_and_nothing_is_left_over(
    prepared_data: Path, name: str, record_property: Callable[[str, object], None]
) -> None:
    case = CASES[name]
    with world_of(case, prepared_data) as world:
        crew = world.crew
        crew.keep_up()
        undisturbed = passed(UNDISTURBED_S)
        with world.primary.connect() as conn:
            dead_before = dead_rows(conn)

        lasting = Span.of(lambda: case.way(world))
        with crew.live.connect() as conn:
            dead_after = dead_rows(conn)
        until_run = Span.of(crew.next_run)
        after = passed(UNDISTURBED_S)

        outcome = crew.finish()
        ran = all_that_ran(crew)
        crew.lasts_ms = 0
        # Nobody can through a pooler.
        if world.pooler is None:
            crew.listen()
        wake_up_ms = crew.wake_up_ms()
        said = crew.said.read_text("utf-8") if crew.said.exists() else ""

    meanwhile = lasting if case.goes_on else Span(lasting.since, until_run.until)
    seconds = (
        ran.longest_s(Span(undisturbed.since, after.until))
        if case.longest
        else ran.still_s(lasting)
        if case.goes_on
        else until_run.seconds
    )
    rates = [ran.per_s(span) for span in (undisturbed, meanwhile, after)]
    measured = Measured(name, outcome, seconds, rates[1], rates[0], wake_up_ms, goes_on=case.goes_on)
    record_property("way", measured.row())
    if case.public:
        slowest = [ran.p99_ms(span) for span in (undisturbed, Span(lasting.since, after.until))]
        figures = (*(f"{each:.1f}" for each in rates), *(f"{each:.0f}" for each in slowest))
        record_property("scenario", (f"{case.public}: {name}", *figures, str(dead_before), str(dead_after)))
    assert outcome == Outcome([], [], [])
    assert seconds <= case.most_s
    assert not case.keeps_leases or "lease.lost" not in said
