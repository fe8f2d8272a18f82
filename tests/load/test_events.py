"""A hundred thousand moves a minute for ten subscribers, of which three do badly; and a worker that is always killed.

Each move is one event: none is missing, each row's come in their order, and what comes twice comes in a batch that was
sent before, with its id.
"""

from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from load.moving import Moved, Moving, make_nodes, moved
from load.receivers import Delivery, Receivers, receivers
from pgfleet.producers import event as producer
from recovery.servers import Server, free_port, standby_of
from worlds.database import Connection
from worlds.fleet import forked_worker, until, worker_process
from worlds.identity.people import person

MODULE = "pgfleet.workers.event"
QUICK = [f"quick-{number}" for number in range(1, 8)]
BAD = ["slow-1", "half-1"]
MOVES, MINUTE_S, EACH, NODES = 100_000, 60, 167, 5010
MOST_LATE_S = 1.0
KILLS, RESTARTED_AT, FAILS_OVER_AT = 50, (12, 37), 25


@dataclass(frozen=True)
class Told:
    """What one of them was told: taken is each move that it took, in the order of its first coming."""

    name: str
    deliveries: list[Delivery]
    taken: list[int]
    twice: int
    late_s: list[float]

    @classmethod
    def of(cls, name: str, deliveries: list[Delivery], moves: Moved) -> "Told":
        taken: dict[int, float] = {}
        come: Counter[int] = Counter()
        for delivery in deliveries:
            for number in delivery.numbers:
                if number in moves.rows and delivery.status == 200:
                    come[number] += 1
                    taken.setdefault(number, delivery.at)
        late_s = sorted(at - moves.at[number] for number, at in taken.items() if number in moves.at)
        return cls(name, deliveries, list(taken), come.total() - len(come), late_s)

    def late(self, share: float) -> float:
        return self.late_s[min(int(share * len(self.late_s)), len(self.late_s) - 1)] if self.late_s else 0.0

    def check(self, moves: Moved) -> None:
        """No hole up to where it is; the order within each row; whatever came again came in a batch with its id."""
        assert self.taken, self.name
        assert sorted(self.taken) == sorted(list(moves.rows)[: len(self.taken)]), f"{self.name} misses moves"
        last: dict[str, int] = {}
        for number in self.taken:
            assert number > last.get(moves.rows[number], 0), f"{self.name}: a row's moves are not in order"
            last[moves.rows[number]] = number
        batches: dict[str, list[int]] = {}
        first: dict[int, str] = {}
        for delivery in self.deliveries:
            assert batches.setdefault(delivery.webhook_id, delivery.numbers) == delivery.numbers
            for number in delivery.numbers:
                assert first.setdefault(number, delivery.webhook_id) == delivery.webhook_id

    def line(self) -> str:
        figures = (len(self.deliveries), len(self.taken), self.twice)
        late = (f"{self.late(share):.2f}" for share in (0.5, 0.99, 1))
        return f"| {self.name} | {' | '.join(map(str, figures))} | {' | '.join(late)} |"


def subscribe(conn: Connection, urls: list[str]) -> None:
    person(conn, "eve", "DEVOPS")
    for url in urls:
        producer.subscribe("eve", url, conn, machines=["node"])


def ready(conn: Connection, number: int) -> None:
    asked = "select count(*) from public.event_subscriptions where status = 'active'"
    until(lambda: conn.execute(asked).fetchone() == (number,), what="subscriptions")


def told_more(to: Receivers) -> None:
    """A delivery has come to somebody."""
    before = to.lines()
    until(lambda: to.lines() > before + 1, what="deliveries")


def all_told(to: Receivers, names: list[str], moves: Moved) -> bool:
    """Whether each has taken all, in whatever order."""
    return all(
        moves.rows.keys() <= {number for each in to.deliveries(name) if each.status == 200 for number in each.numbers}
        for name in names
    )


def figures(title: str, told: list[Told]) -> None:
    head = "| who | deliveries | taken | twice | p50 (s) | p99 (s) | most (s) |"
    print("\n".join(["", title, head, "|---|---|---|---|---|---|---|", *(each.line() for each in told)]))  # noqa: T201


def test_a_hundred_thousand_moves_a_minute_reach_who_can_take_them_within_a_second(
    server: Server, tmp_path: Path
) -> None:
    """Although one is dead, one slow, and one answers 500 half of the time."""
    with receivers(tmp_path, QUICK + BAD) as to, server.connect() as conn:
        make_nodes(conn, NODES)
        subscribe(conn, [*to.urls.values(), f"http://127.0.0.1:{free_port()}/dead"])
        with worker_process(server.dsn, None, MODULE, threads=4, events_may_reach="127.0.0.1"):
            ready(conn, len(to.urls) + 1)
            moving = Moving(server.dsn, EACH, MOVES // EACH + 1, NODES)
            moving.start()
            until(lambda: not moving.thread.is_alive(), within_s=10 * MINUTE_S, what="all moves")
            moves = moved(conn, moving)
            until(lambda: all_told(to, QUICK, moves), within_s=5 * MINUTE_S, what="all told")
        told = [Told.of(name, to.deliveries(name), moves) for name in to.urls]

    figures(f"{len(moves.rows)} moves in {moving.lasted_s:.0f} s", told)
    for each in told:
        each.check(moves)
    assert len(moves.rows) >= MOVES
    assert [each.twice for each in told if each.name in QUICK] == [0] * len(QUICK)
    assert max(each.late(0.99) for each in told if each.name in QUICK) < MOST_LATE_S
    assert moving.lasted_s < 1.1 * MINUTE_S


@dataclass
class Fleet:
    """Servers that are restarted and promoted, and what moves on whichever of them is live."""

    live: Server
    standby: Server
    moving: Moving

    def trouble(self, number: int) -> None:
        """What happens to the database while the worker of this number is there."""
        if number in RESTARTED_AT:
            self.restart()
        if number == FAILS_OVER_AT:
            self.fail_over()

    def restart(self) -> None:
        self.live.stop("fast")
        self.live.start()

    def fail_over(self) -> None:
        """The primary is killed; what it has acknowledged is on both."""
        self.live.end()
        self.standby.promote()
        self.live, self.standby = self.standby, self.live


def test_who_is_killed_fifty_times_loses_nothing(server: Server, short_dir: Path, tmp_path: Path) -> None:
    """With the database restarted twice, and failed over once."""
    standby = standby_of(server, short_dir / "two")
    dsn = f"host=127.0.0.1,127.0.0.1 port={server.port},{standby.port} user=postgres dbname=pgfleet"
    writing = f"{dsn} target_session_attrs=read-write"
    with ExitStack() as stack:
        stack.callback(standby.end)
        to = stack.enter_context(receivers(tmp_path, [*QUICK, *BAD]))
        with server.connect() as conn:
            make_nodes(conn, 500)
            subscribe(conn, [*to.urls.values(), f"http://127.0.0.1:{free_port()}/dead"])
        fleet = Fleet(server, standby, Moving(writing, 20, 100_000, 500))
        fleet.moving.start()
        for number in range(KILLS):
            with forked_worker(dsn, MODULE, lease_s=2, events_may_reach="127.0.0.1"):
                told_more(to)
                # Who starts while no server answers would end.
                fleet.trouble(number)
                told_more(to)
        fleet.moving.ended.set()
        fleet.moving.thread.join()
        with worker_process(dsn, None, MODULE, threads=4, lease_s=2, events_may_reach="127.0.0.1"):
            with fleet.live.connect() as conn:
                moves = moved(conn, fleet.moving)
            until(lambda: all_told(to, QUICK, moves), within_s=300, what="all told")
        told = [Told.of(name, to.deliveries(name), moves) for name in to.urls]

    figures(f"{len(moves.rows)} moves in {fleet.moving.lasted_s:.0f} s, {KILLS} kills", told)
    for each in told:
        each.check(moves)
