"""Messages about subscriptions to events: one function a request, in the caller's transaction or on its own.

An address and its secret are in no message: they are placed beside it, with the row, in the same transaction.
"""

import uuid
from collections.abc import Sequence
from typing import NamedTuple, TypedDict, Unpack
from urllib.parse import urlsplit

from psycopg.types.json import Jsonb

from pgfleet.producers.placing.refusing import refusals
from pgfleet.producers.sending import at_the_door, check, send
from pgfleet.schema.database.sessions import connect
from pgfleet.schema.event import QUEUE, Resume, SendAgain, Subscribe, Test, Unsubscribe
from pgfleet.schema.messages import CONTRACT, CONTRACT_HEADER, BadMessage
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.settings import read_settings

PLACE = "select public.place_subscription(%s, %s, %s)"
MOST_LETTERS = 2048


class Wanted(TypedDict, total=False):
    """Which events, and how they are written; all, and as CloudEvents, unless given; the id is a new one."""

    subscription_id: str | None
    format: str
    machines: Sequence[str] | None
    states: Sequence[str] | None
    of_user: str | None
    row_id: str | None


class Subscribed(NamedTuple):
    """The id of a subscription, and the secret that its deliveries are signed with: it is told this once."""

    subscription_id: str
    secret: str


def subscribe(user_id: str, url: str, conn: Connection | None = None, **wanted: Unpack[Wanted]) -> Subscribed:
    """Have events sent to an address from now on.

    Raises:
        BadMessage: a field, or the address, can't be used; nothing was sent.
        NotTheirsError: who asks may not ask for this user.
        IdUsedError: the id was used for something else.
    """
    check_url(url)
    given = {name: value for name, value in wanted.items() if value is not None}
    message = check(Subscribe, {"subscription_id": str(uuid.uuid4()), "user_id": user_id, **given})
    if conn is not None:
        return _place(conn, message, url)
    with connect(read_settings().dsn(), autocommit=True) as own:
        return _place(own, message, url)


def _place(conn: Connection, message: Subscribe, url: str) -> Subscribed:
    body = Jsonb(message.model_dump(mode="json", exclude_none=True))
    with refusals(), at_the_door():
        row = conn.execute(PLACE, (body, url, Jsonb({CONTRACT_HEADER: CONTRACT}))).fetchone()
    return Subscribed(message.subscription_id, str(row[0]) if row else "")


def check_url(url: str) -> None:
    """That it may be the address of a subscription; whether it is one that may be reached is the worker's to say.

    Raises:
        BadMessage: it is none. Nothing of it is quoted.
    """
    try:
        parts = urlsplit(url)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        sound = False
    if not sound or len(url) > MOST_LETTERS or not url.isascii() or not url.isprintable() or " " in url:
        raise BadMessage("url: must be an address such as https://example.org/hook, of at most 2048 letters")
    if "@" in parts.netloc:
        raise BadMessage("url: must have no name and no password; deliveries are signed")


def unsubscribe(subscription_id: str, user_id: str, conn: Connection | None = None) -> str:
    """Have nothing more sent.

    Raises:
        BadMessage: a field can't be used; nothing was sent.
    """
    return send(QUEUE, Unsubscribe, {"subscription_id": subscription_id, "user_id": user_id}, conn).subscription_id


def resume(subscription_id: str, user_id: str, conn: Connection | None = None) -> str:
    """Go on with a subscription that is off, where it was.

    Raises:
        BadMessage: a field can't be used; nothing was sent.
    """
    return send(QUEUE, Resume, {"subscription_id": subscription_id, "user_id": user_id}, conn).subscription_id


def send_test(subscription_id: str, user_id: str, conn: Connection | None = None) -> str:
    """Have one event sent that says that it is a test.

    Raises:
        BadMessage: a field can't be used; nothing was sent.
    """
    return send(QUEUE, Test, {"subscription_id": subscription_id, "user_id": user_id}, conn).subscription_id


def send_again(subscription_id: str, user_id: str, after: str, conn: Connection | None = None) -> str:
    """Have what is after a position delivered once more.

    Raises:
        BadMessage: a field can't be used; nothing was sent.
    """
    fields = {"subscription_id": subscription_id, "user_id": user_id, "after": after}
    return send(QUEUE, SendAgain, fields, conn).subscription_id
