"""What the demo submits, and what it does when it sees a reservation reach a state."""

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from psycopg.types.json import Jsonb

from pgfleet.producers import reservation as producer
from pgfleet.schema.gang.nodes import gang_ids
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.reservation import QUEUE, Status

NODES = ("h100:2x8", "a100:1x8", "t4:1x4", "l4:3x4", "a10g:1x4", "cpu-x86:1x0")
HOUR_S = 3600
EXTENSION_S = 4
# Who is warned a minute before the end is warned two seconds after the start.
WARNED_S = 62
# These last until they are cancelled.
LONG_S, LONGER_S = 55, 300
SEND = "select pgmq.send(%s, %s)"
USERS = ("ada", "grace", "linus")
DISK = "data"

MALFORMED = {"action": "create_reservation", "reservation_id": "not a uuid", "user_id": "ada", "gpu_count": 3}


@dataclass(frozen=True)
class Planned:
    """A reservation of the demo, and how it has to end.

    Attributes:
        gpus: of each of its nodes.
        fate: the states of its last move.
    """

    gpu_type: str
    gpus: int
    seconds: float
    what: str = ""
    fate: tuple[str, str] = (Status.ACTIVE, Status.EXPIRED)
    image: str | None = None
    disk: str | None = None
    user: str = "ada"
    nodes: int = 1
    reservation_id: str = field(default_factory=lambda: str(uuid.uuid4()))

    @property
    def ids(self) -> list[str]:
        """Of all its nodes: each is a reservation of its own."""
        return gang_ids(self.reservation_id, self.nodes)

    @property
    def wants(self) -> str:
        if self.nodes > 1:
            return f"{self.nodes} nodes of {self.gpus} {self.gpu_type}"
        return f"{self.gpus} x {self.gpu_type}" if self.gpus else self.gpu_type

    def send(self, conn: Connection) -> None:
        producer.create_reservation(conn, **self._fields())

    def send_by_sql(self, conn: Connection) -> None:
        """As a service in any language would."""
        conn.execute(SEND, (QUEUE, Jsonb({"action": "create_reservation", **self._fields()})))

    def cancel(self, conn: Connection) -> None:
        producer.cancel(self.reservation_id, self.user, conn)

    def extend(self, conn: Connection) -> None:
        producer.extend(self.reservation_id, self.user, EXTENSION_S / HOUR_S, conn)

    def _fields(self) -> dict[str, Any]:
        fields = {
            "reservation_id": self.reservation_id,
            "user_id": self.user,
            "github_user": self.user,
            "gpu_type": self.gpu_type,
            "gpu_count": self.gpus,
            "duration_hours": self.seconds / HOUR_S,
            "name": self.what or None,
            "dockerimage": self.image,
            "disk_name": self.disk,
            "total_nodes": self.nodes if self.nodes > 1 else None,
        }
        return {name: value for name, value in fields.items() if value is not None}


@dataclass(frozen=True)
class Reaction:
    """What the demo does once, when it sees `planned` in `status`, and all `beside` it, and warned if `warned`."""

    planned: Planned
    status: str
    act: Callable[[Connection], None]
    beside: tuple[Planned, ...] = ()
    warned: bool = False


@dataclass(frozen=True)
class Line:
    """A gang that waits for two whole nodes, and a small reservation that came after it and passes it.

    Of three nodes, `held` have two, and `part` has a half of the third. The small one takes the other half, for which
    the gang does not wait.
    """

    held: tuple[Planned, Planned]
    part: Planned
    gang: Planned
    small: Planned

    @property
    def planned(self) -> tuple[Planned, ...]:
        return (*self.held, self.part, self.gang, self.small)

    def reactions(self) -> Iterator[Reaction]:
        yield Reaction(self.part, Status.ACTIVE, self.gang.send, beside=self.held)
        yield Reaction(self.gang, Status.QUEUED, self.small.send)
        for each in self.held:
            yield Reaction(self.small, Status.ACTIVE, each.cancel)
        for each in (self.part, self.small):
            yield Reaction(self.gang, Status.ACTIVE, each.cancel)


@dataclass(frozen=True)
class Story:
    """All that happens: what is sent at first, and the reactions to what is seen later."""

    planned: tuple[Planned, ...]
    first: tuple[Callable[[Connection], None], ...]
    reactions: tuple[Reaction, ...]
    extended: Planned
    broken: Planned
    warned: Planned
    line: Line


def story() -> Story:
    """32 reservations that want more than the fleet has. No size can end up spread over two nodes."""
    plain = tuple(
        Planned(gpu_type, gpus, seconds, user=USERS[number % len(USERS)])
        for number, (gpu_type, gpus, seconds) in enumerate(_PLAIN)
    )
    whole = [one for one in plain if (one.gpu_type, one.gpus) == ("h100", 8)]
    small = [one for one in plain if (one.gpu_type, one.gpus) == ("h100", 4)]
    half = next(one for one in plain if (one.gpu_type, one.gpus) == ("a100", 4))
    broken = Planned("t4", 1, 6, "image missing", (Status.PREPARING, Status.FAILED), "acme/missing:1")
    # Where nobody waits to whom its GPUs could be promised.
    extended = Planned("a10g", 1, 6, "extended")
    warned = Planned("a10g", 1, WARNED_S, "warned, and cancelled then", (Status.ACTIVE, Status.CANCELLED))
    line = _line()
    cancelled = Planned("t4", 2, 30, "cancelled while active", (Status.ACTIVE, Status.CANCELLED))
    by_sql = Planned("h100", 4, 6, "sent by plain SQL")
    impatient = Planned("a100", 8, 30, "cancelled in the line", (Status.QUEUED, Status.CANCELLED))
    overtaken = Planned("a100", 2, 30, "cancelled before created", ("(new)", Status.CANCELLED))
    at_home = Planned("cpu-x86", 0, 6, "with a disk", disk=DISK)
    home_again = Planned("cpu-x86", 0, 6, "with the same disk", disk=DISK)
    at_once = [one for one in plain if one not in small]
    early = (broken, cancelled, extended, warned, at_home, *line.held, line.part)
    first = (overtaken.cancel, *(one.send for one in (*early, *at_once)))
    return Story(
        planned=(
            *(broken, cancelled, extended, warned, at_home, home_again),
            *(*plain, by_sql, impatient, overtaken, *line.planned),
        ),
        first=(*first, _send_malformed),
        reactions=(
            Reaction(half, Status.ACTIVE, impatient.send),
            Reaction(impatient, Status.QUEUED, impatient.cancel),
            Reaction(cancelled, Status.ACTIVE, cancelled.cancel),
            Reaction(extended, Status.ACTIVE, extended.extend),
            Reaction(warned, Status.ACTIVE, warned.cancel, warned=True),
            Reaction(overtaken, Status.CANCELLED, overtaken.send),
            # It waits for the disk, and then for the snapshot of what the one before has left on it.
            Reaction(at_home, Status.ACTIVE, home_again.send),
            # Once the whole nodes are taken, so that nothing has to fit between.
            *(Reaction(whole[0], Status.ACTIVE, one.send) for one in small),
            Reaction(whole[0], Status.ACTIVE, by_sql.send_by_sql),
            *line.reactions(),
        ),
        extended=extended,
        broken=broken,
        warned=warned,
        line=line,
    )


def _line() -> Line:
    until_cancelled = (Status.ACTIVE, Status.CANCELLED)
    return Line(
        held=(Planned("l4", 4, LONG_S, fate=until_cancelled), Planned("l4", 4, LONG_S, fate=until_cancelled)),
        # It ends last: what is promised to the gang are the nodes of the other two.
        part=Planned("l4", 2, LONGER_S, fate=until_cancelled),
        gang=Planned("l4", 4, 3, "a gang", nodes=2, user="grace"),
        small=Planned("l4", 2, LONG_S, "came after the gang, and passes it", until_cancelled, user="linus"),
    )


def _send_malformed(conn: Connection) -> None:
    conn.execute(SEND, (QUEUE, Jsonb(MALFORMED)))


# Type, GPUs, seconds.
_PLAIN = (
    *(("h100", 8, 6), ("h100", 8, 7), ("h100", 4, 6), ("h100", 4, 7), ("h100", 4, 8), ("h100", 4, 6)),
    *(("a100", 4, 6), ("a100", 2, 7), ("a100", 8, 6), ("a100", 1, 6), ("a100", 2, 6)),
    *(("t4", 4, 6), ("t4", 2, 6), ("t4", 1, 6), ("t4", 1, 7)),
    *(("cpu-x86", 0, 8), ("cpu-x86", 0, 10), ("h100", 4, 6)),
)
