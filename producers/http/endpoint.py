"""An endpoint: what a person can call, as routes and the OpenAPI document read it; and what its function is given."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from pgfleet.producers.http.gateway.batcher import Batcher
from pgfleet.producers.http.health.examining import Examining
from pgfleet.producers.http.permissions import OPEN
from pgfleet.producers.http.settings import ServeSettings
from pgfleet.schema.asking import Whose
from pgfleet.schema.database.pool import Pool
from pgfleet.schema.errors import FleetError
from pgfleet.schema.identity.principal import Principal
from pgfleet.schema.identity.speaking import Origin
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.settings import Settings

M = TypeVar("M", bound=BaseModel)
NUMBER = re.compile(r"[1-9][0-9]{0,18}")
Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
Category = Literal["AUTH", "NODE", "POOL", "USER", "CONFIG", "SYSTEM"]


class Shape(BaseModel):
    """What is in a body: of a request, where a field that is not known is refused; of an answer, nothing else."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


def left_out() -> Any:
    """Of a field that a change may leave out: null it may only be where its type says so."""
    return Field(default_factory=lambda: None)


class Waiting(Shape):
    """Parameters of an answer that can be held back."""

    wait: Annotated[float, Field(ge=0, le=60, allow_inf_nan=False)] = 0


class NotFoundError(FleetError):
    """There is no such row, or it is not for who asks to see: which of the two, nobody is told."""


class NotPermittedError(FleetError):
    """Who asks may not do this; the text says what was asked."""


@dataclass(frozen=True, slots=True)
class Audit:
    """How a write is called in the audit: `RESERVATION_CANCELLED`, of what category, and what sort of thing.

    `reason` is what the person who did it has said about it.
    """

    action: str
    category: Category
    resource: str
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What is answered; a body may be a future. `about` and `name` say which row it is about.

    `again`: there may be more in a moment; with these parameters the same is asked again, before this is answered.
    """

    body: Any = None
    status: int | None = None  # the endpoint's, unless it is said
    headers: Mapping[str, str] = field(default_factory=dict)
    about: str | None = None
    name: str | None = None
    row: tuple[str, str, int] | None = None  # to be waited for: its machine, its id, its last move
    again: str | None = None


@dataclass(frozen=True)
class Call:
    """One request, proven, permitted and checked, within a transaction that speaks for the principal."""

    conn: Connection
    principal: Principal
    whose: Whose
    settings: Settings
    serving: ServeSettings
    path: Mapping[str, str]
    query: BaseModel | None
    body: BaseModel | None
    headers: Mapping[str, str]
    batcher: Batcher
    examining: Examining
    key: str | None = None  # Idempotency-Key

    @property
    def owner(self) -> str | None:
        """Whose rows alone may be seen; None where everybody's may."""
        return None if self.whose == Whose.ANY else self.principal.username

    def must_see(self, user_id: str | None, what: str) -> None:
        """Refuse another's row as if it were not there.

        Raises:
            NotFoundError: it is not for this principal.
        """
        if self.owner is not None and user_id != self.owner:
            raise NotFoundError(f"there is no {what}")

    def number(self, name: str, what: str, most: int = 2**31 - 1) -> int:
        """A number in the path.

        Raises:
            NotFoundError: it is none, or no row has one so large.
        """
        given = self.path[name]
        if NUMBER.fullmatch(given) is None or int(given) > most:
            raise NotFoundError(f"there is no {what} {given[:20]}")
        return int(given)

    def given(self, _: type[M]) -> M:
        """The body, of the endpoint's own model."""
        return self.body  # type: ignore[return-value]  # read by the same endpoint's `takes`

    def asked(self, _: type[M]) -> M:
        """The query's parameters, of the endpoint's own model."""
        return self.query  # type: ignore[return-value]  # read by the same endpoint's `asks`


@dataclass(frozen=True)
class Opened:
    """A request of somebody who has yet to prove who they are; it makes its own transactions."""

    pool: Pool
    body: BaseModel | None
    origin: Origin
    timeout_s: float

    def given(self, _: type[M]) -> M:
        """The body, of the endpoint's own model."""
        return self.body  # type: ignore[return-value]  # read by the same endpoint's `takes`


@dataclass(frozen=True)
class Endpoint:
    """One method of one address.

    Attributes:
        does: what it does, in a sentence without a full stop.
        permission: a name of PERMISSIONS, or of OPEN.
        handle: runs in a thread, in a transaction of the database; one that is open makes its own.
        takes, asks, gives: models of the body, of the query's parameters and of the answer.
        audit: how a write is called; None for a read.
        refuses: which further statuses it may answer with, beside those that all do.
        queue: where its message goes; one that is too full takes nothing.
        machine: of one whose `?wait=` holds it until its row has moved: which machine the row is of.
        streams: its answer is a stream of events; `handle` says which.
        lost: of an answer that holds what is shown once: what to do where it was lost; `{id}` is whose it is.
        is_alone: `handle` is given a session without a transaction.
    """

    method: Method
    path: str
    does: str
    permission: str
    handle: Callable[[Call], Answer] | Callable[[Opened], Answer]
    gives: type[BaseModel] | None = None
    takes: type[BaseModel] | None = None
    asks: type[BaseModel] | None = None
    status: int = 200
    audit: Audit | None = None
    refuses: tuple[int, ...] = ()
    machine: str | None = None
    is_alone: bool = False
    streams: bool = False
    queue: str | None = None
    example: Mapping[str, Any] | None = None
    lost: str | None = None

    @cached_property
    def name(self) -> str:
        """Its operationId: the function's name, which no two have."""
        return self.handle.__name__

    @property
    def is_open(self) -> bool:
        """Whether nobody need prove anything: the table says so."""
        return self.permission in OPEN

    @property
    def is_done_once(self) -> bool:
        """Whether it takes an Idempotency-Key: a POST that changes something, of somebody."""
        return self.method == "POST" and self.audit is not None and not self.is_open

    @property
    def tag(self) -> str:
        """The noun that it is about."""
        return self.path.split("/")[2].partition(":")[0]


def encoded(body: Any) -> bytes:
    """JSON in UTF-8; text that is none (half a character) is escaped."""
    return json.dumps(body, separators=(",", ":"), default=str).encode()
