"""Server-Sent Events as bytes: `id`, `event` and `data` lines, and comments that keep a connection open."""

import json

from pgfleet.schema.feed.cursor import Cursor
from pgfleet.schema.feed.event import Event


def frame_of(event: Event) -> bytes:
    """JSON has no line breaks of its own, so its data is one line; states and machines are words."""
    kind = "".join(letter for letter in event.type if letter.isprintable())
    return f"id: {event.position}\nevent: {kind}\ndata: {event.json()}\n\n".encode("utf-8", "replace")


def retry(milliseconds: int) -> bytes:
    """After how long a client that was cut off comes back."""
    return f"retry: {milliseconds}\n\n".encode()


def beat(position: Cursor | None) -> bytes:
    """A comment; with the position up to which there is nothing more to tell: who comes back need not look there."""
    return b": \n\n" if position is None else f": \nid: {position}\n\n".encode()


def ending(reason: str, detail: str) -> bytes:
    """Why the stream ends here, as the last event. It has no id: the last one stays where to go on."""
    return f"event: end\ndata: {json.dumps({'reason': reason, 'detail': detail})}\n\n".encode()
