"""What the runtime has to know about a kind: how its messages are read, loaded, stepped and given up."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Generic, Protocol, TypeVar

from pgfleet.schema.queue.kernel import Connection, Json
from pgfleet.schema.settings import Settings
from pgfleet.schema.tickets import Tickets
from pgfleet.workers.runtime.outcomes import Outcome


class View(Protocol):
    """Everything that the steps of one batch may look at, loaded at one time `now`."""

    @property
    def now(self) -> datetime: ...


M = TypeVar("M")
V = TypeVar("V", bound=View)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Turn(Generic[V, T]):
    """What a step may use besides its message.

    Attributes:
        msg_id: the message's number: of two sent at one moment, the first has the lower.
        sent_at: when the message was first sent, however often it has waited since.
        hold: raises LeaseLostError unless the message is still ours; called before every effect.
    """

    view: V
    tools: T
    msg_id: int
    sent_at: datetime
    hold: Callable[[], None]

    @property
    def now(self) -> datetime:
        return self.view.now

    def later(self, seconds: float) -> datetime:
        return self.view.now + timedelta(seconds=seconds)


@dataclass(frozen=True, slots=True)
class Kind(Generic[M, V, T]):
    """One sort of message with its queue. `M` is its message, `V` its view, `T` its tools (clients, settings).

    Attributes:
        read: a body as a message; raises BadMessage with the reason.
        key: what the message is about; messages with one key are stepped one after the other.
        load: all that the steps of these messages may look at, in one round trip.
        step: one decision about one message. Raises anything: that is an outcome too.
        fail: what becomes of the row when its message is given up; None leaves it alone.
        limit: how many failed attempts the message has; None for no limit.
        tools: opened once per process, closed when it ends.
        batch: how many messages one claim takes, where there are no effects.
        once: whether a message that comes twice in a row in one claim needs to be stepped only once.
        effects: whether steps call the outside: then they run in threads, and a claim takes as many.
        tickets: those that the runtime sends again where rows have lost them, whenever a Sweep comes; a kind with none
            steps its Sweep itself.
    """

    name: str
    queue: str
    read: Callable[[Json], M]
    key: Callable[[M], str]
    load: Callable[[Connection, Sequence[M], Settings], V]
    step: Callable[[M, Turn[V, T]], Outcome]
    fail: Callable[[M, V, str], Outcome | None]
    limit: Callable[[M, V, Settings], int | None]
    tools: Callable[[Settings], AbstractContextManager[T]]
    batch: int
    once: Callable[[M], bool] = lambda _message: False
    effects: bool = False
    tickets: tuple[Tickets, ...] = ()


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


B_contra = TypeVar("B_contra", contravariant=True)


class Apply(Protocol[B_contra]):
    """Writes what some messages ask for, in the caller's transaction; remarks on those that were not simply taken.

    With `skip_held` it waits for no row that somebody else holds, and says which those are.
    """

    def __call__(
        self, conn: Connection, messages: Sequence[B_contra], settings: Settings, *, skip_held: bool
    ) -> list[Remark]: ...


@dataclass(frozen=True, slots=True)
class BulkKind(Generic[M]):
    """A kind whose claims are answered as a whole, by set-based statements, without effects; else as a Kind."""

    name: str
    queue: str
    read: Callable[[Json], M]
    key: Callable[[M], str]
    apply: Apply[M]
    tools: Callable[[Settings], AbstractContextManager[Any]]
    batch: int
    effects: bool = False


AnyKind = Kind[Any, Any, Any] | BulkKind[Any]
