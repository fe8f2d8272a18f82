"""How a producer sends: check the shape, then pgmq.send, which any language could do as well."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import psycopg
from psycopg.types.json import Jsonb

from pgfleet.schema.database.sessions import connect
from pgfleet.schema.errors import Refusal
from pgfleet.schema.messages import CONTRACT, CONTRACT_HEADER, Message, checked
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.settings import read_settings
from pgfleet.schema.tracing import spans

M = TypeVar("M", bound=Message)

NOT_LET_IN = "PF011"
SEND = "select pgmq.send(%s, %s::jsonb, %s::jsonb)"


def send(queue: str, message_type: type[M], fields: Mapping[str, Any], conn: Connection | None) -> M:
    """Send a message of this type; the message as it was checked.

    Raises:
        BadMessage: the fields do not make a message; nothing was sent.
        Refusal: this login may not send it.
    """
    message = check(message_type, fields)
    if conn is not None:
        put(conn, queue, message)
        return message
    with connect(read_settings().dsn(), autocommit=True) as own:
        put(own, queue, message)
    return message


def check(message_type: type[M], fields: Mapping[str, Any]) -> M:
    """The message that these fields make.

    Raises:
        BadMessage: they make none; the text names each field.
    """
    return checked(message_type, fields)


@contextmanager
def at_the_door() -> Iterator[None]:
    """What the door of a queue refuses (`105_door.sql`) is told as it says it."""
    try:
        yield
    except psycopg.Error as error:
        if error.sqlstate != NOT_LET_IN:
            raise
        said = (error.diag.message_primary, error.diag.message_hint)
        raise Refusal(" ".join(part for part in said if part)) from None


def put(conn: Connection, queue: str, message: Message) -> int:
    """Send a message that was checked; its number in the queue.

    Raises:
        Refusal: this login may not send it; the text says what it may.
    """
    body = Jsonb(message.model_dump(mode="json", exclude_none=True))
    with at_the_door():
        sent = conn.execute(SEND, (queue, body, Jsonb({CONTRACT_HEADER: CONTRACT, **spans.headers()}))).fetchone()
    return int(sent[0]) if sent and sent[0] is not None else 0
