"""What the API puts into the audit: requests of who is proven, and how often others were refused."""

from dataclasses import dataclass

from pgfleet.schema.identity.keys import SQL
from pgfleet.schema.identity.once import Given
from pgfleet.schema.printable import cut, printable
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.rows.named import ask

LONGEST = 255
LONGEST_TEXT = 1000


@dataclass(frozen=True, slots=True)
class Noted:
    """A request: what was done or refused, and to what. Never a secret, never a body."""

    action: str  # NODE_CREATED, RESERVATION_CANCELLED, ...
    category: str  # AUTH, NODE, POOL, USER, CONFIG, SYSTEM
    resource_type: str | None = None
    resource_id: str | None = None
    resource_name: str | None = None
    description: str | None = None


@dataclass(frozen=True, slots=True)
class Kept:
    """What a request with this key is answered."""

    key_hash: str
    given: Given


def note(conn: Connection, noted: Noted, *, error: str | None = None, kept: Kept | None = None) -> None:
    """Note a request inside `speaking_for`, before the write: then the write is not noted once more.

    With an error it is a FAILURE, noted in a transaction of its own after the write was rolled back. `kept` is what it
    is answered, inside `speaking_once`.
    """
    more = {} if kept is None else {"key_hash": kept.key_hash, "answered": kept.given.status, **_answer(kept.given)}
    ask(
        conn,
        SQL["note_request"] if kept is None else SQL["note_answered"],
        **more,
        action=noted.action,
        category=noted.category,
        resource_type=_fit(noted.resource_type, LONGEST),
        resource_id=_fit(noted.resource_id, LONGEST),
        resource_name=_fit(noted.resource_name, LONGEST),
        description=_fit(noted.description, LONGEST_TEXT),
        status="SUCCESS" if error is None else "FAILURE",
        error=_fit(error, LONGEST_TEXT),
    )


def _answer(given: Given) -> dict[str, str | None]:
    return {"about": given.about, "location": given.location, "body": given.body}


def note_refusals(conn: Connection, address: str, number: int) -> None:
    """Count refusals of nobody at an address in this minute (a /64 of IPv6 is one), or of `node 7`."""
    ask(conn, SQL["note_refusals"], address=printable(address), number=number)


def _fit(text: str | None, most: int) -> str | None:
    return None if text is None else cut(printable(text), most)
