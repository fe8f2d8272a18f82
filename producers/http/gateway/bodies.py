"""The body of a request of a node, checked by itself, as the text of a message: a bad one never gets into a batch."""

import re
import uuid
from datetime import UTC, datetime
from typing import Any

from pydantic_core import PydanticSerializationError

from pgfleet.schema.errors import Refusal
from pgfleet.schema.heartbeat import SOURCES
from pgfleet.schema.messages import BadMessage, checked

BYTES_LIMIT = 262_144
_NUMBER = re.compile(r"[1-9][0-9]{0,9}")
# JSON that PostgreSQL has no text for: NUL, as it is written in JSON.
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")


class NotItsOwn(Refusal):
    """A node speaks for another one."""


def text_of(node: str, body: Any) -> bytes:
    """The message of a heartbeat; a node may leave out `action`, `source`, `node_id`, `id` and `sent_at`.

    Raises:
        BadMessage: it is none.
        NotItsOwn: it is another node's.
    """
    if not isinstance(body, dict):
        raise BadMessage("the body is not an object")
    source = "autoscaler" if _NUMBER.fullmatch(node) else "cluster"
    own = {"action": "heartbeat", "source": source, "node_id": node}
    for name, value in own.items():
        if name in body and str(body[name]) != value:
            raise NotItsOwn(f"{name}: node {node} may send nothing but its own heartbeat")
    left_out = {"id": str(uuid.uuid4()), "sent_at": datetime.now(UTC).isoformat()}
    message = checked(SOURCES[source], {**left_out, **own, **body})
    try:
        text = message.model_dump_json(exclude_none=True).encode()
    except (PydanticSerializationError, UnicodeError):
        raise BadMessage("metrics: must not hold half a character") from None
    if _NUL.search(text):
        raise BadMessage("the body must not hold the character NUL")
    if len(text) > BYTES_LIMIT:
        raise BadMessage(f"the body must not be larger than {BYTES_LIMIT // 1024} KiB; it has {len(text) // 1024}")
    return text
