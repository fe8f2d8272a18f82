"""Two standbys by the commands of the page, and a promotion of the one that is ahead: nothing is lost or run twice."""

import signal
import time
from collections.abc import Callable
from pathlib import Path

from recovery.by_hand import blocks, die, hold_back, machines
from recovery.crew import Outcome, crew_on, value
from recovery.measured import Span, all_that_ran, passed
from recovery.servers import copied
from recovery.table import Measured
from worlds.database import temporary_folder
from worlds.fleet import until

FOLLOW = "select count(*) from pg_stat_replication where state = 'streaming'"
QUORUM = "select count(*) from pg_stat_replication where sync_state = 'quorum'"


def test_two_standbys_and_a_promotion_by_the_commands_of_the_page(
    prepared_data: Path, record_property: Callable[[str, object], None]
) -> None:
    primary_commands, standby_commands, names = blocks("Two standbys")
    who_is_ahead, promote = blocks("Promote")
    (rewind,) = blocks("The old primary follows")
    with temporary_folder() as folder:
        first = copied(prepared_data, folder / "pg_1")
        at = machines(folder, first)
        _, second, third = at.servers
        try:
            at.run(primary_commands, 1)
            at.run(standby_commands, 2)
            at.run(standby_commands.replace("pg_2", "pg_3"), 3)
            with first.connect() as conn:
                until(lambda: value(conn, FOLLOW) == 2, within_s=60, what="two standbys that follow")
                at.run(names, 1)
                until(lambda: value(conn, QUORUM) == 2, within_s=60, what="commits that wait")

            with crew_on(at.hosts, first, folder) as crew:
                undisturbed = passed(4)
                behind = hold_back(third)
                crew.runs(60)
                began = time.time()
                die(first)
                ahead, not_ahead = map(int, at.run(who_is_ahead, 2).split())
                assert ahead > not_ahead
                crew.produce(second)
                behind.send_signal(signal.SIGCONT)
                at.run(promote, 2)
                until_run = Span.of(crew.next_run)
                *commands, doctor = rewind.strip().splitlines()
                assert doctor == "pgfleet doctor"
                at.run("\n".join(commands), 1)
                with second.connect() as conn:
                    until(lambda: value(conn, QUORUM) == 2, within_s=60, what="the old primary as a standby")
                assert at.doctor() == 0
                outcome = crew.finish()
                ran = all_that_ran(crew)
                crew.listen()
                wake_up_ms = crew.wake_up_ms()
        finally:
            for each in at.servers:
                each.end()

    name = "primary killed, one of two standbys behind, the other promoted by hand (three hosts)"
    meanwhile = ran.per_s(Span(began, until_run.until))
    measured = Measured(name, outcome, until_run.seconds, meanwhile, ran.per_s(undisturbed), wake_up_ms)
    record_property("way", measured.row())
    assert outcome == Outcome([], [], [])
    assert until_run.seconds <= 10
