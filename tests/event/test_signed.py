"""The receiver's half of a signature, as the page about the API has it."""

import re
import time
from typing import Any

import pytest

from pgfleet.producers.http.openapi.publish import PAGE
from worlds.events import Events
from worlds.receiver import Receiver

[TEXT] = re.findall(r"<!-- verify, python -->\n```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def test_the_example_of_the_page_takes_what_was_signed_and_nothing_else(events: Events, receiver: Receiver) -> None:
    """Not another secret's, not another body, and not what is old."""
    known: dict[str, Any] = {}
    exec(TEXT, known)  # noqa: S102  # printed in our own page
    made = events.subscribe(receiver.url)
    row_id = events.make()
    events.look(made)
    [got] = receiver.got
    old = {**got.headers, "webhook-timestamp": str(int(time.time()) - 600)}

    [event] = known["events_of"](got.headers, got.body, made.secret)

    assert event["subject"] == row_id
    other = events.subscribe(receiver.url).secret
    for headers, body, secret in ((got.headers, got.body + b" ", made.secret), (got.headers, got.body, other)):
        with pytest.raises(ValueError, match="not signed"):
            known["events_of"](headers, body, secret)
    with pytest.raises(ValueError, match="too old"):
        known["events_of"](old, got.body, made.secret)
