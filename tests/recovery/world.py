"""A way in which a server goes away, or is kept busy, and the world in which that happens."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from recovery.crew import Crew, crew_on
from recovery.pooler import Pooler, pooler_to
from recovery.servers import Server, copied, standby_of
from recovery.small_disk import small_disk
from worlds.database import temporary_folder
from worlds.network.proxy import Proxy, proxy_to
from worlds.small.kind import QUEUE

# By what is said on it a session is known: of the pool, of the keeper of leases, of the listener.
POOL, KEEPER, LISTENER = f"claim_{QUEUE}".encode(), b"'{pgfleet,claim}' is not null", b"listen "
# An answer that does not come is given up after statement_timeout + 10 s, a new connection after 10 s.
SILENCE_S, CONNECT_S = 40, 10
SOON_S = 10


@dataclass(frozen=True)
class World:
    """What can fail: a primary, its standby where there is one, and the address that leads to one of them."""

    folder: Path
    crew: Crew
    address: Proxy
    primary: Server
    standby: Server | None
    pooler: Pooler | None
    disk: Path | None

    def second(self) -> Server:
        assert self.standby is not None
        return self.standby

    def let_standby_answer(self) -> None:
        self.second().promote()
        self.crew.produce(self.second())

    def pool(self) -> Pooler:
        assert self.pooler is not None
        return self.pooler

    def small_disk(self) -> Path:
        assert self.disk is not None
        return self.disk


Way = Callable[[World], None]


@dataclass(frozen=True)
class Case:
    """A way, and the bounds that hold in it.

    Attributes:
        most_s: how long it may take until messages are run again; where work `goes_on`, how long it may stand still.
        dsn: how workers reach the server: by its address, by two hosts, through a pooler.
        disk: what of the server is on a disk of its own that is small: `data` or `wal`.
        public: its name in the public comparison of queues, whose measures are then taken, too.
        longest: whether `most_s` is about what every message took from its send to its row.
        keeps_leases: whether steps last for longer than a lease, and none may be lost.
    """

    way: Way
    most_s: float = SOON_S
    goes_on: bool = False
    has_standby: bool = False
    dsn: str = "address"
    disk: str | None = None
    public: str | None = None
    longest: bool = False
    keeps_leases: bool = False
    per_s: float = 20
    lasts_ms: int = 0
    max_connections: int = 100
    settings: Mapping[str, Any] = field(default_factory=dict)


@contextmanager
def world_of(case: Case, prepared_data: Path) -> Iterator[World]:
    with temporary_folder() as folder, ExitStack() as stack:
        disk = stack.enter_context(small_disk(folder / "disk")) if case.disk else None
        given = {"max_connections": case.max_connections}
        place = disk / "data" if disk and case.disk == "data" else folder / "primary"
        wal = None if disk is None else folder / "wal" if case.disk == "data" else disk / "wal"
        # In the end, whatever state they are in.
        for each in (place, folder / "standby", folder / "copy"):
            stack.callback(Server(each, 0).end)
        primary = copied(prepared_data, place, wal=wal, **given)
        standby = standby_of(primary, folder / "standby") if case.has_standby else None
        address = stack.enter_context(proxy_to(primary.dsn, (POOL, KEEPER, LISTENER)))
        pooler = stack.enter_context(pooler_to(primary, folder)) if case.dsn == "pooler" else None
        dsn = pooler.dsn if pooler else by_two_hosts(primary, standby) if case.dsn == "two hosts" else address.dsn
        crew = stack.enter_context(
            crew_on(dsn, primary, folder, per_s=case.per_s, lasts_ms=case.lasts_ms, **case.settings)
        )
        yield World(folder, crew, address, primary, standby, pooler, disk)


def by_two_hosts(primary: Server, standby: Server | None) -> str:
    """Which one takes writes is for us to find out."""
    assert standby is not None
    return f"host=127.0.0.1,127.0.0.1 port={primary.port},{standby.port} user=postgres dbname=pgfleet"
