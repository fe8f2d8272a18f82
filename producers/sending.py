"""How a producer sends: check the shape, then pgmq.send, which any language could do as well."""

from typing import Any, TypeVar

from psycopg.types.json import Jsonb
from pydantic import ValidationError

from pgfleet.schema.database.dsn import connect
from pgfleet.schema.messages import BadMessage, Message, explain
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.settings import read_settings

M = TypeVar("M", bound=Message)

SEND = "select pgmq.send(%s, %s::jsonb)"


def send(queue: str, message_type: type[M], fields: dict[str, Any], conn: Connection | None) -> M:
    """Send a message of this type; the message as it was checked.

    Raises:
        BadMessage: the fields do not make a message; nothing was sent.
    """
    try:
        message = message_type.model_validate(fields)
    except ValidationError as error:
        raise BadMessage(explain(error)) from None
    body = Jsonb(message.model_dump(mode="json", exclude_none=True))
    if conn is not None:
        conn.execute(SEND, (queue, body))
        return message
    with connect(read_settings().dsn(), autocommit=True) as own:
        own.execute(SEND, (queue, body))
    return message
