"""What the runtime has to know about a kind: how its messages are read, loaded, stepped and given up."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Generic, Protocol, TypeVar

from pgfleet.schema.asking import USUAL, Asked, Role, Whose
from pgfleet.schema.queue.kernel import Connection, Json
from pgfleet.schema.rows.row import Row
from pgfleet.schema.settings import Settings
from pgfleet.schema.tickets import Tickets
from pgfleet.workers.runtime.outcomes import Calls, NotNowError, Outcome
from pgfleet.workers.runtime.outside.breakers import Breakers, Use
from pgfleet.workers.runtime.task import Task


class View(Protocol):
    """Everything that the steps of one batch may look at, loaded at one time `now`."""

    @property
    def now(self) -> datetime: ...


M = TypeVar("M")
V = TypeVar("V", bound=View)
T = TypeVar("T")


@dataclass(slots=True)
class Turn(Generic[V, T]):
    """What a step may use besides its message.

    Attributes:
        msg_id: the message's number: of two sent at one moment, the first has the lower.
        sent_at: when the message was first sent, however often it has waited since.
        hold: raises LeaseLostError unless the message is still ours; called before every effect.
        breakers: what is in trouble outside.
        asked: who asked for it; None where a worker or the owner of the tables did.
    """

    view: V
    tools: T
    msg_id: int
    sent_at: datetime
    hold: Callable[[], None]
    breakers: Breakers
    asked: Asked | None = None

    @property
    def now(self) -> datetime:
        return self.view.now

    def later(self, seconds: float) -> datetime:
        return self.view.now + timedelta(seconds=seconds)

    def waited(self, since: datetime) -> timedelta:
        """How long something has lasted, for its limit: what was out meanwhile does not count."""
        return self.now - since - self.breakers.outages.within(since, self.now)

    def trouble(self, dependency: str, calls: Calls) -> NotNowError | None:
        """Why these calls would not be made now; None if they would."""
        return self.breakers.trouble(dependency, calls)


@dataclass(frozen=True, slots=True)
class Kind(Generic[M, V, T]):
    """One sort of message with its queue. `M` is its message, `V` its view, `T` its tools (clients, settings).

    Attributes:
        read: a body as a message; raises BadMessage with the reason.
        key: what the message is about; messages with one key are stepped one after the other.
        ids: the fields by which a body that can't be read still says what it is about.
        load: all that the steps of these messages may look at, in one round trip.
        step: one decision about one message. Raises anything: that is an outcome too.
        fail: what becomes of the row when its message is given up; None leaves it alone.
        limit: how many failed attempts the message has; None for no limit.
        tools: opened once per process, closed when it ends; its clients ask the breakers before they call.
        shown: the row that says why a message waits, if there is one.
        probe: asks a dependency about nobody; raises NotNowError where it is not answered.
        outlasts: the dependencies whose outages count in no limit of its rows.
        batch: how many messages one claim takes, where there are no effects.
        once: whether a message that comes twice in a row in one claim needs to be stepped only once.
        effects: whether steps call the outside: then they run in threads, and a claim takes as many.
        lacks: what its messages can't be worked on without, in words, and how it is mended; none is claimed until it is
            nothing. An error stands for what just does not answer: an outage as any other, that keeps no message.
        tickets: those that the runtime sends again where rows have lost them, whenever a Sweep comes; a kind with none
            steps its Sweep itself.
        watch: what follows the outside beside the steps, for as long as a process works; given its Running.
        whose: the field that says whom a request is about.
        may: whose requests each role may send; of what is not listed, nobody's.
    """

    name: str
    queue: str
    read: Callable[[Json], M]
    key: Callable[[M], str]
    load: Callable[[Connection, Sequence[M], Settings], V]
    step: Callable[[M, Turn[V, T]], Outcome]
    fail: Callable[[M, V, str], Outcome | None]
    limit: Callable[[M, V, Settings], int | None]
    tools: Callable[[Settings, Breakers | None], AbstractContextManager[T]]
    batch: int
    shown: Callable[[M, V], Row | None] = lambda _message, _view: None
    probe: Callable[[T, Use[Any], str, Calls], None] = lambda *_: None
    outlasts: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()
    once: Callable[[M], bool] = lambda _message: False
    effects: bool = False
    lacks: Callable[[T], Sequence[str | NotNowError]] = lambda _tools: ()
    tickets: tuple[Tickets, ...] = ()
    watch: Callable[[Any], AbstractContextManager[None]] | None = None
    whose: str = "user_id"
    may: Mapping[Role, Whose] = field(default_factory=lambda: USUAL)


@dataclass(frozen=True, slots=True)
class Remark:
    """What is to be said of a message of a bulk that was not simply taken, by its place in it.

    Attributes:
        verdict: 'wait' for a row that is not known (after a while a dead letter), 'held' for a row that somebody else
            has in an open transaction, 'done' for a message that changes nothing, 'reject' for a dead letter, 'note'
            for one that counted, but not all of it.
    """

    place: int
    verdict: str
    reason: str


class Apply(Protocol):
    """Writes what some messages ask for, in the caller's transaction; remarks on those that were not simply taken.

    With `skip_held` it waits for no row that somebody else holds, and says which those are.
    """

    def __call__(
        self, conn: Connection, tasks: Sequence[Task], settings: Settings, *, skip_held: bool
    ) -> list[Remark]: ...


@dataclass(frozen=True, slots=True)
class BulkKind(Generic[M]):
    """A kind whose claims are answered as a whole, by set-based statements, without effects; else as a Kind."""

    name: str
    queue: str
    read: Callable[[Json], M]
    key: Callable[[M], str]
    apply: Apply
    tools: Callable[[Settings, Breakers | None], AbstractContextManager[Any]]
    batch: int
    ids: tuple[str, ...] = ()
    effects: bool = False
    whose: str = "user_id"
    may: Mapping[Role, Whose] = field(default_factory=lambda: USUAL)


AnyKind = Kind[Any, Any, Any] | BulkKind[Any]
