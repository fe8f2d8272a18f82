"""How a producer sends: check the shape, then pgmq.send, which any language could do as well."""

from collections.abc import Mapping
from typing import Any, TypeVar

from psycopg.types.json import Jsonb
from pydantic import ValidationError

from pgfleet.schema.database.dsn import connect
from pgfleet.schema.messages import BadMessage, Message, explain
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.settings import read_settings

M = TypeVar("M", bound=Message)

SEND = "select pgmq.send(%s, %s::jsonb)"


def send(queue: str, message_type: type[M], fields: Mapping[str, Any], conn: Connection | None) -> M:
    """Send a message of this type; the message as it was checked.

    Raises:
        BadMessage: the fields do not make a message; nothing was sent.
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
    try:
        return message_type.model_validate(fields)
    except ValidationError as error:
        raise BadMessage(explain(error)) from None


def put(conn: Connection, queue: str, message: Message) -> int:
    """Send a message that was checked; its number in the queue."""
    body = Jsonb(message.model_dump(mode="json", exclude_none=True))
    sent = conn.execute(SEND, (queue, body)).fetchone()
    return int(sent[0]) if sent else 0
