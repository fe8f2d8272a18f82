"""Two standbys by the commands of the page, and a promotion of the one that is ahead: nothing is lost or run twice."""

import signal
from collections.abc import Callable
from pathlib import Path

from recovery.by_hand import blocks, die, hold_back, machines
from recovery.crew import crew_on, value
from recovery.servers import copied
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
                behind = hold_back(third)
                crew.runs(60)
                die(first)
                ahead, not_ahead = map(int, at.run(who_is_ahead, 2).split())
                assert ahead > not_ahead
                crew.produce(second)
                behind.send_signal(signal.SIGCONT)
                at.run(promote, 2)
                seconds = crew.seconds_until_run()
                *commands, doctor = rewind.strip().splitlines()
                assert doctor == "pgfleet doctor"
                at.run("\n".join(commands), 1)
                with second.connect() as conn:
                    until(lambda: value(conn, QUORUM) == 2, within_s=60, what="the old primary as a standby")
                assert at.doctor() == 0
                lost, doubled = crew.finish()
                wake_up_ms = crew.wake_up_ms()
        finally:
            for each in at.servers:
                each.end()

    name = "primary killed, one of two standbys behind, the other promoted by hand (three hosts)"
    record_property("row", (name, f"{seconds:.1f}", f"{wake_up_ms:.0f}", str(len(lost)), str(len(doubled))))
    assert (lost, doubled) == ([], [])
    assert seconds <= 10
    assert wake_up_ms < 500, "nobody listens"
