"""Requests that are done once: who asks the same again is answered as the first was (`108_requests_answered.sql`)."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

import psycopg
from psycopg.types.json import Json

from pgfleet.schema.errors import FleetError
from pgfleet.schema.identity.keys import SQL
from pgfleet.schema.identity.principal import Principal
from pgfleet.schema.identity.speaking import Origin, claims_of
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.rows.named import ask


class StillAskedError(FleetError):
    """The same is being done in another transaction."""


@dataclass(frozen=True, slots=True)
class Once:
    """What makes a request the same as another of the same principal."""

    key_hash: str
    endpoint: str
    asked_hash: str


@dataclass(frozen=True, slots=True)
class Given:
    """An answer as it is kept; without a body where there was none, or where it held what is shown once."""

    status: int
    about: str | None
    location: str | None
    body: str | None


@dataclass(frozen=True, slots=True)
class Before:
    """The first request with the same key: what it was, and what it was answered."""

    endpoint: str
    is_same: bool
    asked_at: datetime
    given: Given


@contextmanager
def speaking_once(
    conn: Connection, principal: Principal, once: Once, origin: Origin | None = None, timeout_s: float = 0
) -> Iterator[Before | None]:
    """As `speaking_for`, of who puts it into the audit: the first request with this key; None where this is it.

    Raises:
        StillAskedError: the first is not done yet; this one has waited for a second.
    """
    with conn.transaction():
        yield _begun(conn, principal, once, origin, timeout_s)


def _begun(
    conn: Connection, principal: Principal, once: Once, origin: Origin | None, timeout_s: float
) -> Before | None:
    try:
        (row,) = ask(
            conn,
            SQL["begin_request"],
            claims=Json(claims_of(principal, origin)),
            timeout=round(timeout_s * 1000),
            key_hash=once.key_hash,
            endpoint=once.endpoint,
            asked_hash=once.asked_hash,
        )
    except psycopg.errors.LockNotAvailable:
        raise StillAskedError("the same request is being done; ask again in a moment") from None
    found = row["answered"]
    if found is None:
        return None
    given = Given(found["status"], found["about"], found["location"], found["body"])
    return Before(found["endpoint"], found["is_same"], datetime.fromisoformat(found["asked_at"]), given)
