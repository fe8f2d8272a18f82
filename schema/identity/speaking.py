"""A transaction in which the database knows who asks (`107_asking.sql`)."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from psycopg.types.json import Json

from pgfleet.schema.identity.principal import Principal
from pgfleet.schema.printable import printable
from pgfleet.schema.queue.kernel import Connection

SPEAK = """
  select pg_catalog.set_config('request.jwt.claims', %s::jsonb::text, true),
    pg_catalog.set_config('statement_timeout', %s, true),
    case when %s then pg_catalog.set_config('pgfleet.audited', pg_catalog.pg_current_xact_id()::text, true) end
"""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a request came from, for the audit."""

    address: str | None = None
    agent: str | None = None


@contextmanager
def speaking_for(
    conn: Connection,
    principal: Principal,
    origin: Origin | None = None,
    timeout_s: float = 0,
    *,
    is_audited: bool = False,
) -> Iterator[None]:
    """A transaction of the API's login in which the rows, the door and the audit know who asks.

    Each statement may last `timeout_s`; 0 is for ever. `is_audited` is for who puts the request into the audit: then
    triggers of the rows don't do so once more.
    """
    with conn.transaction():
        conn.execute(SPEAK, [Json(claims_of(principal, origin)), str(round(timeout_s * 1000)), is_audited])
        yield


def claims_of(principal: Principal, origin: Origin | None) -> dict[str, Any]:
    """What the database is told of who asks, and of the request."""
    origin = origin or Origin()
    return {
        "sub": principal.username,
        "pgfleet_role": principal.role.value,
        "pgfleet_account": principal.account_id,
        "pgfleet_address": origin.address and printable(origin.address)[:45],
        "pgfleet_agent": origin.agent and printable(origin.agent)[:500],
    }
