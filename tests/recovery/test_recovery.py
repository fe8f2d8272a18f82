"""How long no message is run after each way a server can go away, and that none is lost or run twice."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from recovery.crew import Crew, crew_on
from recovery.servers import Server, copied, standby_of
from worlds.database import temporary_folder
from worlds.network.proxy import Proxy, proxy_to

# An answer that does not come is given up after statement_timeout + 10 s, a new connection after 10 s.
SILENCE_S, CONNECT_S = 40, 10


@dataclass(frozen=True)
class World:
    """What can fail: a primary, its standby where there is one, and the address that leads to one of them."""

    folder: Path
    crew: Crew
    address: Proxy
    primary: Server
    standby: Server | None

    def second(self) -> Server:
        assert self.standby is not None
        return self.standby

    def let_standby_answer(self) -> None:
        self.second().promote()
        self.crew.produce(self.second())


Way = Callable[[World], None]


def restarted(mode: str, away_s: float = 0) -> Way:
    def way(world: World) -> None:
        world.primary.stop(mode)
        time.sleep(away_s)
        world.primary.start()

    return way


def hangs_and_standby_is_promoted(world: World) -> None:
    world.primary.freeze()
    world.let_standby_answer()


def hangs_and_address_moves(world: World) -> None:
    world.primary.freeze()
    world.address.target = world.second().dsn
    world.let_standby_answer()


def address_leads_to_a_standby(world: World) -> None:
    """The address moves first, and workers reconnect to a server in recovery; then it is promoted."""
    world.address.target = world.second().dsn
    world.primary.stop("immediate")
    time.sleep(5)
    world.let_standby_answer()


def turns_read_only(world: World) -> None:
    """Sessions stay open on a server that takes no writes any more; its standby does."""
    world.crew.rest()
    world.primary.set("synchronous_standby_names", "")
    world.primary.set("default_transaction_read_only", "on")
    world.let_standby_answer()


def silent_for_a_minute(world: World) -> None:
    world.address.flowing.clear()
    time.sleep(60)
    world.address.flowing.set()


def open_sessions_stay_silent(world: World) -> None:
    world.address.silence()


def restored(world: World) -> None:
    """What is sent after the copy was made is not in it."""
    crew = world.crew
    crew.rest()
    sent = set(crew.sent)
    copy = world.primary.copy_to(world.folder / "copy")
    crew.produce(world.primary)
    crew.runs(len(sent) + 20)
    crew.rest()
    world.primary.stop("fast")
    crew.sent &= sent
    copy.start()
    world.address.target = copy.dsn
    crew.produce(copy)


@dataclass(frozen=True)
class Case:
    """A way, which two hosts or one address know of, and how long it may take until messages are run again."""

    way: Way
    most_s: float
    has_standby: bool = False
    by_two_hosts: bool = False


# The longest first, as several run at once.
CASES: Mapping[str, Case] = {
    "server away for 150 s": Case(restarted("fast", 150), 10),
    "server restarted": Case(restarted("fast"), 10),
    "server crashed": Case(restarted("immediate"), 10),
    "server away for 35 s": Case(restarted("fast", 35), 10),
    "server hangs, standby promoted (two hosts)": Case(
        hangs_and_standby_is_promoted, SILENCE_S + CONNECT_S + 20, has_standby=True, by_two_hosts=True
    ),
    "server hangs, address moves to the standby": Case(hangs_and_address_moves, SILENCE_S + 20, has_standby=True),
    "address leads to a standby for 5 s": Case(address_leads_to_a_standby, 10, has_standby=True),
    "server turns read-only, standby promoted (two hosts)": Case(
        turns_read_only, 10, has_standby=True, by_two_hosts=True
    ),
    "proxy passes nothing on for 60 s": Case(silent_for_a_minute, 10),
    "open sessions stay silent, new ones do not": Case(open_sessions_stay_silent, SILENCE_S + 20),
    "a copy of before is restored": Case(restored, 10),
}


@contextmanager
def world_of(case: Case, prepared_data: Path) -> Iterator[World]:
    with temporary_folder() as folder:
        primary = copied(prepared_data, folder / "primary")
        try:
            standby = standby_of(primary, folder / "standby") if case.has_standby else None
            with proxy_to(primary.dsn) as address:
                dsn = by_two_hosts(primary, standby) if case.by_two_hosts else address.dsn
                with crew_on(dsn, primary, folder) as crew:
                    yield World(folder, crew, address, primary, standby)
        finally:
            for name in ("primary", "standby", "copy"):
                Server(folder / name, 0).end()


def by_two_hosts(primary: Server, standby: Server | None) -> str:
    """Which one takes writes is for us to find out."""
    assert standby is not None
    return f"host=127.0.0.1,127.0.0.1 port={primary.port},{standby.port} user=postgres dbname=pgfleet"


@pytest.mark.parametrize("name", CASES)
def test_messages_run_again_none_is_lost_and_none_runs_twice(
    prepared_data: Path, name: str, record_property: Callable[[str, object], None]
) -> None:
    case = CASES[name]
    with world_of(case, prepared_data) as world:
        case.way(world)
        seconds = world.crew.seconds_until_run()
        lost, doubled = world.crew.finish()
        wake_up_ms = world.crew.wake_up_ms()

        record_property("row", (name, f"{seconds:.1f}", f"{wake_up_ms:.0f}", str(len(lost)), str(len(doubled))))
        assert (lost, doubled) == ([], [])
        assert seconds <= case.most_s
        assert wake_up_ms < 500, "nobody listens"


def test_sessions_that_are_ended_all_the_time_slow_work_down_and_do_not_stop_it(
    prepared_data: Path, record_property: Callable[[str, object], None]
) -> None:
    with world_of(Case(restarted("fast"), 0), prepared_data) as world, world.primary.connect() as killer:
        longest, since, run = 0.0, time.monotonic(), 0
        deadline, kill_at = since + 20, since
        while time.monotonic() < deadline:
            if time.monotonic() > kill_at:
                killer.execute(END_ALL)
                kill_at += 0.5
            (now,) = killer.execute("select count(*) from public.status_history").fetchone() or (0,)
            longest = max(longest, time.monotonic() - since)
            since, run = (time.monotonic(), now) if now > run else (since, run)
            time.sleep(0.02)
        lost, doubled = world.crew.finish()
        wake_up_ms = world.crew.wake_up_ms()

        row = (f"all sessions ended twice a second ({run} messages in 20 s)", f"{longest:.1f}", f"{wake_up_ms:.0f}")
        record_property("row", (*row, str(len(lost)), str(len(doubled))))
        assert (lost, doubled) == ([], [])
        assert longest < 5
        assert wake_up_ms < 500, "nobody listens"


END_ALL = """
select pg_terminate_backend(pid) from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()
"""
